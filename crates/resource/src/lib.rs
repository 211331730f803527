//! Typed resources and the store that is watched
