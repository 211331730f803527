//! The messages that the client sends (RFC 2131 table 5).

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Encodable, EncodeError, Message, MessageType, OptionCode};

/// Shorter messages are padded: BOOTP relays and some servers drop what is under 300 bytes (RFC 1542 section 2.1).
const MESSAGE_MIN_BYTES: usize = 300;
/// Longest message we take: what fits into one Ethernet frame.
const MESSAGE_MAX_BYTES: u16 = 1500;

/// Options that we understand. RFC 3442 wants the classless routes before the router.
const PARAMETERS: [OptionCode; 11] = [
    OptionCode::SubnetMask,
    OptionCode::ClasslessStaticRoute,
    OptionCode::Router,
    OptionCode::DomainNameServer,
    OptionCode::Hostname,
    OptionCode::DomainName,
    OptionCode::InterfaceMtu,
    OptionCode::NtpServers,
    OptionCode::AddressLeaseTime,
    OptionCode::Renewal,
    OptionCode::Rebinding,
];

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Ethernet address of the link.
    pub mac: [u8; 6],
    /// Option 61, from [`client_id_from_mac`] or [`client_id_from_uuid`].
    pub client_id: Vec<u8>,
    /// Name that the server may publish.
    pub hostname: Option<String>,
}

/// Client identifier of hardware type Ethernet (RFC 2132 section 9.14).
pub fn client_id_from_mac(mac: [u8; 6]) -> Vec<u8> {
    let mut id = vec![1];
    id.extend_from_slice(&mac);
    id
}

/// Client identifier that stays when the network card is replaced: an interface number of the caller's choice and a
/// DUID-UUID (RFC 4361 section 6.1, RFC 6355).
pub fn client_id_from_uuid(interface: u32, uuid: [u8; 16]) -> Vec<u8> {
    let mut id = vec![255];
    id.extend_from_slice(&interface.to_be_bytes());
    id.extend_from_slice(&4u16.to_be_bytes());
    id.extend_from_slice(&uuid);
    id
}

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// DHCPDISCOVER, with the address that we had last.
    Discover { preferred: Option<Ipv4Addr> },
    /// DHCPREQUEST for an offered address.
    Select { address: Ipv4Addr, server: Ipv4Addr },
    /// DHCPREQUEST in INIT-REBOOT: is this address still ours here?
    Confirm { address: Ipv4Addr },
    /// DHCPREQUEST in RENEWING and REBINDING: may we keep the address in use?
    Extend { address: Ipv4Addr },
}

/// Encodes a message; `elapsed_s` counts since the exchange began.
pub(crate) fn encode(
    identity: &Identity,
    ask: Ask,
    xid: u32,
    elapsed_s: u16,
) -> Result<Vec<u8>, EncodeError> {
    let none = Ipv4Addr::UNSPECIFIED;
    let (kind, client_address, requested, server) = match ask {
        Ask::Discover { preferred } => (MessageType::Discover, none, preferred, None),
        Ask::Select { address, server } => (MessageType::Request, none, Some(address), Some(server)),
        Ask::Confirm { address } => (MessageType::Request, none, Some(address), None),
        Ask::Extend { address } => (MessageType::Request, address, None, None),
    };
    let mut message = Message::new_with_id(xid, client_address, none, none, none, &identity.mac);
    message.set_secs(elapsed_s);
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ClientIdentifier(identity.client_id.clone()));
    options.insert(DhcpOption::MaxMessageSize(MESSAGE_MAX_BYTES));
    options.insert(DhcpOption::ParameterRequestList(PARAMETERS.to_vec()));
    if let Some(hostname) = &identity.hostname {
        options.insert(DhcpOption::Hostname(hostname.clone()));
    }
    if let Some(address) = requested {
        options.insert(DhcpOption::RequestedIpAddress(address));
    }
    if let Some(server) = server {
        options.insert(DhcpOption::ServerIdentifier(server));
    }
    let mut bytes = message.to_vec()?;
    bytes.resize(bytes.len().max(MESSAGE_MIN_BYTES), 0);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use dhcproto::v4::Decodable;

    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    /// RFC 2131 table 5: which of ciaddr, requested address and server identifier a message carries.
    #[test]
    fn fields_follow_the_rfc() {
        let mac = [2, 0, 0, 0, 0, 9];
        let identity = Identity { mac, client_id: client_id_from_mac(mac), hostname: Some("node".into()) };
        let none = Ipv4Addr::UNSPECIFIED;
        let table = [
            (Ask::Discover { preferred: None }, MessageType::Discover, none, None, None),
            (Ask::Discover { preferred: Some(ADDRESS) }, MessageType::Discover, none, Some(ADDRESS), None),
            (
                Ask::Select { address: ADDRESS, server: SERVER },
                MessageType::Request,
                none,
                Some(ADDRESS),
                Some(SERVER),
            ),
            (Ask::Confirm { address: ADDRESS }, MessageType::Request, none, Some(ADDRESS), None),
            (Ask::Extend { address: ADDRESS }, MessageType::Request, ADDRESS, None, None),
        ];
        for (ask, kind, client_address, requested, server) in table {
            let bytes = encode(&identity, ask, 77, 5).unwrap();
            assert!(bytes.len() >= MESSAGE_MIN_BYTES);
            let message = Message::from_bytes(&bytes).unwrap();
            assert_eq!((message.xid(), message.secs(), message.chaddr()), (77, 5, &mac[..]), "{ask:?}");
            assert_eq!(message.ciaddr(), client_address, "{ask:?}");
            let options = message.opts();
            assert_eq!(options.msg_type(), Some(kind), "{ask:?}");
            assert_eq!(
                options.get(OptionCode::RequestedIpAddress),
                requested.map(DhcpOption::RequestedIpAddress).as_ref()
            );
            assert_eq!(
                options.get(OptionCode::ServerIdentifier),
                server.map(DhcpOption::ServerIdentifier).as_ref()
            );
            assert!(options.contains(OptionCode::ClientIdentifier) && options.contains(OptionCode::Hostname));
        }
    }

    #[test]
    fn identifiers_have_their_registered_shapes() {
        assert_eq!(client_id_from_mac([1, 2, 3, 4, 5, 6]), [1, 1, 2, 3, 4, 5, 6]);
        let id = client_id_from_uuid(7, [0xab; 16]);
        assert_eq!(id[..7], [255, 0, 0, 0, 7, 0, 4]);
        assert_eq!(id.len(), 23);
    }
}
