// Owns the precompiled header that every torch unit of this project shares.
