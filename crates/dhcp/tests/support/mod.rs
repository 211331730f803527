//! A DHCP server in memory, and a driver that runs a client against servers on a virtual clock.

#![allow(dead_code, reason = "every test program uses a part")]

use std::net::Ipv4Addr;

use dhcp::{Action, Client, Event, Identity, State, client_id_from_mac};
use dhcproto::v4::{Decodable, DhcpOption, Encodable, Message, MessageType, Opcode, OptionCode};

pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
pub const LEASE_S: u32 = 3600;

pub fn identity() -> Identity {
    Identity { mac: MAC, client_id: client_id_from_mac(MAC), hostname: None }
}

/// A reply to `xid`.
pub fn reply(kind: MessageType, xid: u32, server: Ipv4Addr, address: Ipv4Addr, lease_s: u32) -> Vec<u8> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(xid, none, address, none, none, &MAC);
    message.set_opcode(Opcode::BootReply);
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(server));
    if kind != MessageType::Nak {
        options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
        options.insert(DhcpOption::Router(vec![server]));
        options.insert(DhcpOption::AddressLeaseTime(lease_s));
    }
    message.to_vec().unwrap()
}

pub fn decode(bytes: &[u8]) -> Message {
    Message::from_bytes(bytes).unwrap()
}

/// The message that the actions send, if any.
pub fn sent(actions: &[Action]) -> Option<Message> {
    actions.iter().find_map(|action| match action {
        Action::SendBroadcast(message) | Action::SendUnicast { message, .. } => Some(decode(message)),
        Action::Configure(_)
        | Action::Deconfigure
        | Action::Persist(_)
        | Action::Forget
        | Action::SetTimer(_)
        | Action::StopTimer => None,
    })
}

/// How a scripted server behaves.
#[derive(Clone, Debug)]
pub struct Server {
    pub id: Ipv4Addr,
    pub pool: Ipv4Addr,
    pub lease_s: u32,
    pub alive: bool,
    pub offers: bool,
    pub acknowledges: bool,
    /// Refuses every request.
    pub refuses: bool,
    /// Answers other people's transactions.
    pub wrong_xid: bool,
}

impl Server {
    pub fn new(id: Ipv4Addr, pool: Ipv4Addr) -> Self {
        Self {
            id,
            pool,
            lease_s: LEASE_S,
            alive: true,
            offers: true,
            acknowledges: true,
            refuses: false,
            wrong_xid: false,
        }
    }

    fn answer(&self, message: &Message, unicast_to: Option<Ipv4Addr>) -> Option<Vec<u8>> {
        if !self.alive || unicast_to.is_some_and(|server| server != self.id) {
            return None;
        }
        let xid = if self.wrong_xid { message.xid() ^ 1 } else { message.xid() };
        match message.opts().msg_type()? {
            MessageType::Discover if self.offers => {
                Some(reply(MessageType::Offer, xid, self.id, self.pool, self.lease_s))
            }
            MessageType::Request => {
                if let Some(DhcpOption::ServerIdentifier(chosen)) =
                    message.opts().get(OptionCode::ServerIdentifier)
                    && *chosen != self.id
                {
                    return None;
                }
                let asked = match message.opts().get(OptionCode::RequestedIpAddress) {
                    Some(DhcpOption::RequestedIpAddress(address)) => *address,
                    _ => message.ciaddr(),
                };
                let refuse = self.refuses || asked != self.pool;
                let kind = if refuse { MessageType::Nak } else { MessageType::Ack };
                (refuse || self.acknowledges).then(|| reply(kind, xid, self.id, asked, self.lease_s))
            }
            _ => None,
        }
    }
}

/// A client with its servers on a virtual clock.
pub struct World {
    pub client: Client,
    pub servers: Vec<Server>,
    pub now_ms: u64,
    pub timer: Option<u64>,
    pub configured: Option<Ipv4Addr>,
    /// Time and kind of everything sent; true for unicast.
    pub log: Vec<(u64, MessageType, bool)>,
    /// All actions without messages.
    pub actions: Vec<Action>,
}

impl World {
    pub fn new(client: Client, servers: Vec<Server>) -> Self {
        let timer = client.deadline_ms();
        Self { client, servers, now_ms: 0, timer, configured: None, log: Vec::new(), actions: Vec::new() }
    }

    pub fn event(&mut self, event: Event<'_>) {
        let mut pending = self.client.step(self.now_ms, event);
        while !pending.is_empty() {
            let mut replies = Vec::new();
            for action in std::mem::take(&mut pending) {
                match &action {
                    Action::SendBroadcast(message) => replies.extend(self.deliver(message, None)),
                    Action::SendUnicast { message, server } => {
                        replies.extend(self.deliver(message, Some(*server)))
                    }
                    Action::Configure(lease) => self.configured = Some(lease.address),
                    Action::Deconfigure => self.configured = None,
                    Action::SetTimer(at) => self.timer = Some(*at),
                    Action::StopTimer => self.timer = None,
                    Action::Persist(_) | Action::Forget => {}
                }
                if !matches!(action, Action::SendBroadcast(_) | Action::SendUnicast { .. }) {
                    self.actions.push(action);
                }
            }
            assert_eq!(self.timer, self.client.deadline_ms(), "the timer follows the deadline");
            for bytes in replies {
                pending.extend(self.client.step(self.now_ms, Event::Packet(&bytes)));
            }
        }
    }

    fn deliver(&mut self, bytes: &[u8], unicast_to: Option<Ipv4Addr>) -> Vec<Vec<u8>> {
        let message = decode(bytes);
        self.log.push((self.now_ms, message.opts().msg_type().unwrap(), unicast_to.is_some()));
        self.servers.iter().filter_map(|server| server.answer(&message, unicast_to)).collect()
    }

    /// Runs timers until `end_ms`.
    pub fn run_until(&mut self, end_ms: u64) {
        let mut steps = 0;
        while let Some(at) = self.timer.filter(|at| *at <= end_ms) {
            self.now_ms = self.now_ms.max(at);
            self.event(Event::Timer);
            steps += 1;
            assert!(steps < 100_000, "timers run without end");
        }
        self.now_ms = end_ms;
    }

    pub fn state(&self) -> State {
        self.client.state()
    }
}
