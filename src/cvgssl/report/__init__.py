"""What people look at: tables and figures of a run."""
