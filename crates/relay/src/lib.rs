//! RECORD -> COPIES: carries changes, keeps positions, verifies, rebuilds.
