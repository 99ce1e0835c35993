"""Pages for people: HTML from the same functions of ml that the API calls. They work without JavaScript."""
