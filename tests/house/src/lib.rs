//! This library is empty. The package exists for its tests, which check the structure of the
//! workspace. They read the sources and the lock file and run within a second.
