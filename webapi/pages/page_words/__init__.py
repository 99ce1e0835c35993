"""What the pages say: languages, translations, problems and answers in words."""
