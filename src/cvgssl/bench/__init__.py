"""The benchmark: data sets x encoders x heads x settings x shots x draws, resumable and paired."""
