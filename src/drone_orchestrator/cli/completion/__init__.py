"""Shell completion of ids: the options that complete them, and the look-up in the running fleet."""
