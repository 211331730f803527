//! DNS messages (RFC 1035) as far as they are needed here.

/// Longest message that is taken or made: what fits into an Ethernet frame.
pub const MESSAGE_MAX_BYTES: usize = 1472;
/// Longest name in labels and in bytes (RFC 1035 section 2.3.4).
const LABELS_MAX: usize = 32;
const NAME_MAX_BYTES: usize = 255;
const LABEL_MAX_BYTES: usize = 63;
/// Questions and records that are looked at; a message of this length holds no sensible use of more.
const ENTRIES_MAX: u16 = 64;
/// The two high bits of a length mark a pointer (RFC 1035 section 4.1.4).
const POINTER: u8 = 0xc0;

/// The class of the Internet.
pub const CLASS_IN: u16 = 1;
/// Any class, in questions.
pub const CLASS_ANY: u16 = 255;
/// In a question: answer by unicast; in a record: it is the only one (RFC 6762 sections 5.4 and 10.2).
pub const CLASS_TOP_BIT: u16 = 0x8000;
/// Types of records.
pub const A: u16 = 1;
/// See [`A`].
pub const PTR: u16 = 12;
/// See [`A`].
pub const TXT: u16 = 16;
/// See [`A`].
pub const SRV: u16 = 33;
/// Any type, in questions.
pub const ANY: u16 = 255;

/// In the flags: a response, and an authoritative one.
pub const RESPONSE: u16 = 0x8000;
/// See [`RESPONSE`].
pub const AUTHORITATIVE: u16 = 0x0400;
const OPCODE: u16 = 0x7800;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It ends too early.
    #[error("the message ends in the middle")]
    Truncated,
    /// A name is too long, points forwards, or has a label of a kind that nobody uses.
    #[error("a name is malformed")]
    Name,
    /// Not a query or response, or one of absurd size.
    #[error("not a message of multicast DNS")]
    Header,
}

/// A name as its labels, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name(pub Vec<Vec<u8>>);

impl Name {
    /// The labels of a dotted name; none of ours holds a dot.
    pub fn of(text: &str) -> Self {
        Self(text.split('.').map(|label| label.to_ascii_lowercase().into_bytes()).collect())
    }

    /// This name below another.
    pub fn below(label: &str, parent: &Self) -> Self {
        let mut labels = vec![label.to_ascii_lowercase().into_bytes()];
        labels.extend(parent.0.iter().cloned());
        Self(labels)
    }
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked for.
    pub name: Name,
    /// Type.
    pub kind: u16,
    /// Class, with the top bit.
    pub class: u16,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub name: Name,
    /// Class, with the top bit.
    pub class: u16,
    /// How long it may be believed.
    pub ttl_s: u32,
    /// What.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An IPv4 address.
    A([u8; 4]),
    /// A name.
    Ptr(Name),
    /// Texts.
    Txt(Vec<Vec<u8>>),
    /// Where a service is.
    Srv {
        /// TCP port.
        port: u16,
        /// Host.
        target: Name,
    },
    /// Anything else, by its type.
    Other(u16),
}

impl Data {
    fn kind(&self) -> u16 {
        match self {
            Self::A(_) => A,
            Self::Ptr(_) => PTR,
            Self::Txt(_) => TXT,
            Self::Srv { .. } => SRV,
            Self::Other(kind) => *kind,
        }
    }

    /// Whether a question of this type asks for it.
    pub fn is_of(&self, asked: u16) -> bool {
        asked == ANY || asked == self.kind()
    }
}

/// A whole message. Records of all sections are alike to us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Chosen by who asks; 0 in multicast DNS.
    pub id: u16,
    /// Whether it answers.
    pub is_response: bool,
    /// Questions.
    pub questions: Vec<Question>,
    /// Answers and all others.
    pub records: Vec<Record>,
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader { bytes, at: 0 };
        let (id, flags) = (reader.u16()?, reader.u16()?);
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        let [questions, records @ ..] = counts;
        let entries = counts.iter().fold(0, |sum: u16, count| sum.saturating_add(*count));
        if bytes.len() > MESSAGE_MAX_BYTES || flags & OPCODE != 0 || entries > ENTRIES_MAX {
            return Err(WireError::Header);
        }
        let records: u16 = records.iter().sum();
        Ok(Self {
            id,
            is_response: flags & RESPONSE != 0,
            questions: (0..questions).map(|_| reader.question()).collect::<Result<_, _>>()?,
            records: (0..records).map(|_| reader.record()).collect::<Result<_, _>>()?,
        })
    }

    /// Writes the message, all records as answers.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let count = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        let flags = if self.is_response { RESPONSE | AUTHORITATIVE } else { 0 };
        let mut out = Vec::new();
        for number in [self.id, flags, count(self.questions.len()), count(self.records.len()), 0, 0] {
            out.extend(number.to_be_bytes());
        }
        for Question { name, kind, class } in &self.questions {
            put_name(&mut out, name);
            out.extend(kind.to_be_bytes());
            out.extend(class.to_be_bytes());
        }
        for Record { name, class, ttl_s, data } in &self.records {
            put_name(&mut out, name);
            out.extend(data.kind().to_be_bytes());
            out.extend(class.to_be_bytes());
            out.extend(ttl_s.to_be_bytes());
            let content = content(data);
            out.extend(count(content.len()).to_be_bytes());
            out.extend(content);
        }
        out
    }
}

fn content(data: &Data) -> Vec<u8> {
    let mut out = Vec::new();
    match data {
        Data::A(address) => out.extend(address),
        Data::Ptr(name) => put_name(&mut out, name),
        Data::Txt(texts) => texts.iter().for_each(|text| put_text(&mut out, text, usize::from(u8::MAX))),
        Data::Srv { port, target } => {
            // Priority and weight: there is one.
            out.extend([0; 4]);
            out.extend(port.to_be_bytes());
            put_name(&mut out, target);
        }
        Data::Other(_) => {}
    }
    out
}

/// Uncompressed, which every reader takes.
fn put_name(out: &mut Vec<u8>, name: &Name) {
    name.0.iter().for_each(|label| put_text(out, label, LABEL_MAX_BYTES));
    out.push(0);
}

fn put_text(out: &mut Vec<u8>, text: &[u8], max_bytes: usize) {
    let text = text.get(..max_bytes).unwrap_or(text);
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend(text);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let end = self.at.checked_add(length).ok_or(WireError::Truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(WireError::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], WireError> {
        self.take(LENGTH)?.try_into().map_err(|_| WireError::Truncated)
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A pointer leads backwards from where it stands and from every pointer before it, so that reading ends.
    fn name(&mut self) -> Result<Name, WireError> {
        let mut labels = Vec::new();
        let mut length_bytes = 0;
        let mut here = Reader { bytes: self.bytes, at: self.at };
        let (mut lowest, mut followed) = (self.at, false);
        loop {
            let length = here.u8()?;
            if length & POINTER == POINTER {
                let target = usize::from(u16::from_be_bytes([length & !POINTER, here.u8()?]));
                if !followed {
                    self.at = here.at;
                }
                if target >= lowest {
                    return Err(WireError::Name);
                }
                (lowest, followed, here.at) = (target, true, target);
                continue;
            }
            if length & POINTER != 0 {
                return Err(WireError::Name);
            }
            if length == 0 {
                break;
            }
            let label = here.take(usize::from(length))?.to_ascii_lowercase();
            length_bytes += label.len() + 1;
            labels.push(label);
            if labels.len() > LABELS_MAX || length_bytes > NAME_MAX_BYTES {
                return Err(WireError::Name);
            }
        }
        if !followed {
            self.at = here.at;
        }
        Ok(Name(labels))
    }

    fn question(&mut self) -> Result<Question, WireError> {
        Ok(Question { name: self.name()?, kind: self.u16()?, class: self.u16()? })
    }

    fn record(&mut self) -> Result<Record, WireError> {
        let (name, kind, class) = (self.name()?, self.u16()?, self.u16()?);
        let ttl_s = self.array().map(u32::from_be_bytes)?;
        let length = usize::from(self.u16()?);
        let start = self.at;
        let bytes = self.take(length)?;
        // Names in the content may point outside of it, but must end inside.
        let mut inside = Reader { bytes: self.bytes.get(..self.at).ok_or(WireError::Truncated)?, at: start };
        let data = match kind {
            A => Data::A(inside.array()?),
            PTR => Data::Ptr(inside.name()?),
            TXT => Data::Txt(texts(bytes)?),
            SRV => {
                inside.take(4)?;
                Data::Srv { port: inside.u16()?, target: inside.name()? }
            }
            other => Data::Other(other),
        };
        Ok(Record { name, class, ttl_s, data })
    }
}

fn texts(bytes: &[u8]) -> Result<Vec<Vec<u8>>, WireError> {
    let mut reader = Reader { bytes, at: 0 };
    let mut texts = Vec::new();
    while reader.at < bytes.len() {
        let length = usize::from(reader.u8()?);
        texts.push(reader.take(length)?.to_vec());
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = Name> {
        prop::collection::vec(prop::collection::vec(b'a'..=b'z', 1..20), 0..6).prop_map(Name)
    }

    fn data() -> impl Strategy<Value = Data> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(Data::A),
            name().prop_map(Data::Ptr),
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4).prop_map(Data::Txt),
            (any::<u16>(), name()).prop_map(|(port, target)| Data::Srv { port, target }),
        ]
    }

    fn message() -> impl Strategy<Value = Message> {
        let question = (name(), any::<u16>(), any::<u16>()).prop_map(|(name, kind, class)| Question {
            name,
            kind,
            class,
        });
        let record = (name(), any::<u16>(), any::<u32>(), data())
            .prop_map(|(name, class, ttl_s, data)| Record { name, class, ttl_s, data });
        let parts = (prop::collection::vec(question, 0..3), prop::collection::vec(record, 0..3));
        (any::<u16>(), any::<bool>(), parts).prop_map(|(id, is_response, (questions, records))| Message {
            id,
            is_response,
            questions,
            records,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(message in message()) {
            prop_assert_eq!(Message::read(&message.write()), Ok(message));
        }

        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>) {
            let _ = Message::read(&bytes);
        }

        #[test]
        fn no_damage_makes_it_panic(message in message(), at: prop::sample::Index, value: u8, cut: prop::sample::Index) {
            let mut bytes = message.write();
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = Message::read(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            prop_assert!(Message::read(&bytes).is_err() || bytes.len() >= 12);
        }
    }

    fn with_name(name: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(name);
        bytes.extend([0, 12, 0, 1]);
        bytes
    }

    #[test]
    fn pointers_lead_backwards_or_nowhere() {
        let mut bytes = with_name(b"\x01a\x05local\x00");
        bytes[5] = 2;
        bytes.extend(b"\x01b\xc0\x0e\x00\x0c\x00\x01");
        let names: Vec<Name> = Message::read(&bytes).unwrap().questions.into_iter().map(|q| q.name).collect();
        assert_eq!(names, [Name::of("a.local"), Name::of("b.local")]);
        for loops in [b"\xc0\x0c".as_slice(), b"\x01a\xc0\x0c", b"\xc0\x20", b"\x01a\xc0\x0e", b"\x80a\x00"] {
            assert!(Message::read(&with_name(loops)).is_err(), "{loops:?}");
        }
    }

    #[test]
    fn absurd_counts_are_refused() {
        let mut bytes = vec![0; 12];
        bytes[4] = 0xff;
        bytes[6] = 0xff;
        assert_eq!(Message::read(&bytes), Err(WireError::Header));
        assert_eq!(Message::read(&vec![0; MESSAGE_MAX_BYTES + 1]), Err(WireError::Header));
    }
}
