//! Machine configuration documents
