"""Reading picture files that strangers wrote: what a file says of itself, its pixels, and the form that is stored."""
