"""Why an answer: pictures of where in a photo the model saw a class."""
