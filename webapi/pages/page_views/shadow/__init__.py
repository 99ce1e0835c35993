"""The page of a challenger in shadow."""
