"""What is said of a picture beside its class, for programs without scikit-learn too."""

KNOWN, UNKNOWN, NOT_SURE = "known", "unknown", "not sure"
