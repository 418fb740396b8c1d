"""Which pictures to label first: strategies that look at embeddings, never at hidden labels."""
