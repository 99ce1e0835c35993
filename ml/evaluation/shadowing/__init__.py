"""Shadow: a challenger answers the uploads of the last days beside the champion, before it may go into production."""
