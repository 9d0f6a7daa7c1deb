//! Nothing lives here: this package exists for its tests, which hold the structure of the
//! workspace. They read the sources and the lock file, and run in a second.
