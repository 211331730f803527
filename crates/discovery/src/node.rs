//! A node as it is announced and found.

use std::net::Ipv4Addr;

use crate::PORT;
use crate::wire::{
    CLASS_ANY, CLASS_IN, CLASS_TOP_BIT, Data, MESSAGE_MAX_BYTES, Message, Name, PTR, Question, Record,
    WireError,
};

const SERVICE: &str = "_cairn._tcp.local";
/// Lists the types of services on the link (RFC 6763 section 9).
const SERVICES: &str = "_services._dns-sd._udp.local";
const DOMAIN: &str = "local";
/// How long others may believe a record: those with a host's address two minutes (RFC 6762 section 10), which is as
/// long as all of it stays as it is when a node's mode changes.
const TTL_S: u32 = 120;
/// For a client that speaks plain DNS (RFC 6762 section 6.7).
const LEGACY_TTL_S: u32 = 10;

/// What is said of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Node id.
    pub id: String,
    /// Host name.
    pub name: String,
    /// Release.
    pub version: String,
    /// "maintenance", "running" or "recovery".
    pub mode: String,
    /// SHA-256 of the serving key in hex.
    pub fingerprint: String,
    /// Where it is.
    pub endpoint: Option<(Ipv4Addr, u16)>,
}

/// Who gets an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Who asked.
    Sender,
    /// Everybody on the link.
    Group,
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its content.
    pub bytes: Vec<u8>,
    /// To whom.
    pub reach: Reach,
}

/// What a node answers to a datagram from this port; `None` when it is not asked, or known already.
#[must_use]
pub fn answer(node: &Node, datagram: &[u8], from_port: u16) -> Option<Answer> {
    let query = Message::read(datagram).ok().filter(|message| !message.is_response)?;
    let is_legacy = from_port != PORT;
    let all = records(node, is_legacy);
    let asked: Vec<&Question> =
        query.questions.iter().filter(|question| all.iter().any(|record| asks(question, record))).collect();
    let is_known = |record: &Record| {
        query.records.iter().any(|known| {
            known.name == record.name && known.data == record.data && known.ttl_s >= record.ttl_s / 2
        })
    };
    if all.iter().filter(|record| asked.iter().any(|question| asks(question, record))).all(is_known) {
        return None;
    }
    let wants_unicast = asked.iter().all(|question| question.class & CLASS_TOP_BIT != 0);
    let response = Message {
        id: if is_legacy { query.id } else { 0 },
        is_response: true,
        questions: if is_legacy { asked.into_iter().cloned().collect() } else { Vec::new() },
        // All of them, however few are asked for: who asks for one will need the others.
        records: all,
    };
    let reach = if is_legacy || wants_unicast { Reach::Sender } else { Reach::Group };
    let bytes = response.write();
    (bytes.len() <= MESSAGE_MAX_BYTES).then_some(Answer { bytes, reach })
}

/// The question for all nodes, to be sent from a port other than 5353: answers come back to it.
#[must_use]
pub fn query() -> Vec<u8> {
    let question = Question { name: Name::of(SERVICE), kind: PTR, class: CLASS_IN };
    Message { questions: vec![question], ..Message::default() }.write()
}

/// The nodes that a datagram tells of.
///
/// # Errors
/// [`WireError`].
pub fn read(datagram: &[u8]) -> Result<Vec<Node>, WireError> {
    let message = Message::read(datagram)?;
    if !message.is_response {
        return Ok(Vec::new());
    }
    let service = Name::of(SERVICE);
    let instances = message.records.iter().filter_map(|record| match &record.data {
        Data::Ptr(instance) if record.name == service => Some(instance),
        _ => None,
    });
    Ok(instances.filter_map(|instance| find(&message, instance)).collect())
}

fn find(message: &Message, instance: &Name) -> Option<Node> {
    let of = |name: &Name| {
        let name = name.clone();
        message.records.iter().filter(move |record| record.name == name).map(|record| &record.data)
    };
    let mut node = Node::default();
    for data in of(instance) {
        match data {
            Data::Txt(texts) => texts.iter().for_each(|text| node.take(text)),
            Data::Srv { port, target } => {
                let address = of(target).find_map(|data| match data {
                    Data::A(address) => Some(Ipv4Addr::from(*address)),
                    _ => None,
                });
                node.endpoint = address.map(|address| (address, *port));
            }
            Data::A(_) | Data::Ptr(_) | Data::Other(_) => {}
        }
    }
    (!node.id.is_empty()).then_some(node)
}

impl Node {
    fn texts(&self) -> Vec<Vec<u8>> {
        let pairs = [
            ("id", &self.id),
            ("name", &self.name),
            ("version", &self.version),
            ("mode", &self.mode),
            ("fp", &self.fingerprint),
        ];
        pairs.into_iter().map(|(key, value)| format!("{key}={value}").into_bytes()).collect()
    }

    /// Takes one "key=value".
    fn take(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let Some((key, value)) = text.split_once('=') else { return };
        let field = match key {
            "id" => &mut self.id,
            "name" => &mut self.name,
            "version" => &mut self.version,
            "mode" => &mut self.mode,
            "fp" => &mut self.fingerprint,
            _ => return,
        };
        value.clone_into(field);
    }
}

fn asks(question: &Question, record: &Record) -> bool {
    let class = question.class & !CLASS_TOP_BIT;
    question.name == record.name && record.data.is_of(question.kind) && matches!(class, CLASS_IN | CLASS_ANY)
}

fn records(node: &Node, is_legacy: bool) -> Vec<Record> {
    let service = Name::of(SERVICE);
    let instance = Name::below(&node.id, &service);
    let host = Name::below(&node.id, &Name::of(DOMAIN));
    let ttl_s = if is_legacy { LEGACY_TTL_S } else { TTL_S };
    // Plain DNS knows no such bit.
    let own = if is_legacy { CLASS_IN } else { CLASS_IN | CLASS_TOP_BIT };
    let record = |name: &Name, class, data| Record { name: name.clone(), class, ttl_s, data };
    let mut records = vec![
        record(&Name::of(SERVICES), CLASS_IN, Data::Ptr(service.clone())),
        record(&service, CLASS_IN, Data::Ptr(instance.clone())),
        record(&instance, own, Data::Txt(node.texts())),
    ];
    if let Some((address, port)) = node.endpoint {
        records.push(record(&instance, own, Data::Srv { port, target: host.clone() }));
        records.push(record(&host, own, Data::A(address.octets())));
    }
    records
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{A, ANY, SRV};

    fn node() -> Node {
        Node {
            id: "ab".repeat(16),
            name: "edge-1".into(),
            version: "0.1.0".into(),
            mode: "maintenance".into(),
            fingerprint: "cd".repeat(32),
            endpoint: Some((Ipv4Addr::new(192, 0, 2, 7), 50000)),
        }
    }

    fn ask(name: &str, kind: u16, class: u16) -> Vec<u8> {
        let question = Question { name: Name::of(name), kind, class };
        Message { id: 7, questions: vec![question], ..Message::default() }.write()
    }

    #[test]
    fn a_node_is_found_by_who_asks() {
        let answer = answer(&node(), &query(), 40_000).unwrap();
        assert_eq!(answer.reach, Reach::Sender);
        assert_eq!(read(&answer.bytes).unwrap(), [node()]);
    }

    #[test]
    fn plain_dns_gets_its_id_and_question_back_and_no_top_bits() {
        let answer = answer(&node(), &ask(SERVICE, PTR, CLASS_IN), 40_000).unwrap();
        let message = Message::read(&answer.bytes).unwrap();
        assert_eq!((message.id, message.questions.len()), (7, 1));
        assert!(message.records.iter().all(|record| record.class == CLASS_IN && record.ttl_s <= 10));
    }

    #[test]
    fn multicast_dns_is_answered_to_all_unless_it_asks_otherwise() {
        let to_all = answer(&node(), &ask(SERVICE, PTR, CLASS_IN), PORT).unwrap();
        let message = Message::read(&to_all.bytes).unwrap();
        assert_eq!((to_all.reach, message.id, message.questions.len()), (Reach::Group, 0, 0));
        let unicast = answer(&node(), &ask(SERVICE, PTR, CLASS_IN | CLASS_TOP_BIT), PORT).unwrap();
        assert_eq!(unicast.reach, Reach::Sender);
    }

    #[test]
    fn only_what_is_ours_is_answered() {
        let id = node().id;
        for (name, kind) in [
            (SERVICE.to_owned(), ANY),
            (SERVICE.to_ascii_uppercase(), PTR),
            (SERVICES.to_owned(), PTR),
            (format!("{id}.{SERVICE}"), SRV),
            (format!("{id}.local"), A),
        ] {
            assert!(answer(&node(), &ask(&name, kind, CLASS_ANY), PORT).is_some(), "{name}");
        }
        for (name, kind, class) in [
            (SERVICE, A, CLASS_IN),
            (SERVICE, PTR, 3),
            ("_http._tcp.local", PTR, CLASS_IN),
            ("other.local", A, CLASS_IN),
            ("local", ANY, CLASS_IN),
        ] {
            assert_eq!(answer(&node(), &ask(name, kind, class), PORT), None, "{name}");
        }
    }

    #[test]
    fn an_answer_is_no_question_and_known_answers_are_not_repeated() {
        let answered = answer(&node(), &ask(SERVICE, PTR, CLASS_IN), PORT).unwrap();
        assert_eq!(answer(&node(), &answered.bytes, PORT), None);
        let mut knows = Message::read(&ask(SERVICE, PTR, CLASS_IN)).unwrap();
        knows.records = Message::read(&answered.bytes).unwrap().records;
        assert_eq!(answer(&node(), &knows.write(), PORT), None);
        knows.records.iter_mut().for_each(|record| record.ttl_s = 1);
        assert!(answer(&node(), &knows.write(), PORT).is_some());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_borne(bytes: Vec<u8>, port: u16) {
            let _ = answer(&node(), &bytes, port);
            let _ = read(&bytes);
        }

        #[test]
        fn any_node_is_read_as_it_is_written(name in "[ -~]{0,60}", version in "[ -<>-~]{0,30}", address: u32) {
            let endpoint = Some((Ipv4Addr::from(address), 50000));
            let told = Node { name, version, endpoint, ..node() };
            let answer = answer(&told, &query(), 1).unwrap();
            prop_assert_eq!(read(&answer.bytes).unwrap(), [told]);
        }
    }
}
