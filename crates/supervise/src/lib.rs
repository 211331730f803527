//! Supervision state machine of PID 1
