"""From picture files to arrays: reading, listing, splitting, checking, storing, generating."""
