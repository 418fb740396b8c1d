"""A folder with recognizers at work: their versions, what happened to them, answers over HTTP."""
