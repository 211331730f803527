//! DHCPv4 client state machine
