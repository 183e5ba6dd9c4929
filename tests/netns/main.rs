//! Tests with real clients in network namespaces that they make themselves. They need root.

mod dhcp;
mod guard;
mod net;
mod serve;
