use super::*;
use proptest::prelude::*;

const LIMIT: usize = 64 * 1024;

fn kinds() -> impl Strategy<Value = Kind> {
    (1u8..=7).prop_map(|byte| Kind::try_from(byte).unwrap())
}

/// Takes and gives bytes in pieces of at most `step`, as a socket may.
struct Trickle {
    bytes: Vec<u8>,
    at: usize,
    step: usize,
    calls: usize,
}

impl Trickle {
    fn new(step: usize) -> Self {
        Self { bytes: Vec::new(), at: 0, step, calls: 0 }
    }
}

impl Write for Trickle {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        let taken = buf.len().min(self.step);
        self.bytes.extend_from_slice(&buf[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Trickle {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let given = buf.len().min(self.step).min(self.bytes.len() - self.at);
        buf[..given].copy_from_slice(&self.bytes[self.at..self.at + given]);
        self.at += given;
        Ok(given)
    }
}

proptest! {
    #[test]
    fn frames_arrive_as_they_left(
        frames in prop::collection::vec((kinds(), prop::collection::vec(any::<u8>(), 0..9000)), 0..6),
        step in 1usize..5000,
    ) {
        let mut channel = Trickle::new(step);
        for (kind, payload) in &frames {
            write_frame(&mut channel, *kind, payload).unwrap();
        }
        let mut buf = vec![7; 100];
        for (kind, payload) in &frames {
            prop_assert_eq!(read_frame(&mut channel, LIMIT, &mut buf).unwrap(), *kind);
            prop_assert_eq!(&buf, payload);
        }
        prop_assert!(matches!(read_frame(&mut channel, LIMIT, &mut buf), Err(FrameError::Closed)));
    }

    #[test]
    fn a_cut_frame_is_short(kind in kinds(), payload in prop::collection::vec(any::<u8>(), 0..6000), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, kind, &payload).unwrap();
        bytes.truncate(1 + cut.index(bytes.len() - 1));
        prop_assert!(matches!(read_frame(&mut &bytes[..], LIMIT, &mut Vec::new()), Err(FrameError::Short)));
    }

    #[test]
    fn garbage_is_an_error_or_a_frame_within_the_limit(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut rest = &bytes[..];
        let mut buf = Vec::new();
        while read_frame(&mut rest, 100, &mut buf).is_ok() {
            prop_assert!(buf.len() <= 100);
        }
        prop_assert!(buf.capacity() < 1024);
    }

    #[test]
    fn payloads_survive(version in any::<u16>(), agent in ".{0,40}", entropy in any::<[u8; 32]>(), unix_ns in any::<u64>()) {
        let hello = Hello { version, agent: &agent };
        let payload = hello.encode();
        prop_assert_eq!(Hello::decode(&payload), Some(hello));
        let wake = Wake { entropy, unix_ns };
        prop_assert_eq!(Wake::decode(&wake.encode()), Some(wake));
        let memory = Memory { total: unix_ns, available: u64::from(version) };
        prop_assert_eq!(Memory::decode(&memory.encode()), Some(memory));
    }
}

#[test]
fn a_small_frame_is_one_write() {
    let mut channel = Trickle::new(usize::MAX);
    write_frame(&mut channel, Kind::Call, &[1; 4000]).unwrap();
    assert_eq!(channel.calls, 1);
}

#[test]
fn the_layout_is_fixed() {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, Kind::Answer, b"ab").unwrap();
    assert_eq!(bytes, [2, 0, 0, 0, 4, b'a', b'b']);
}

#[test]
fn a_frame_over_the_limit_is_refused_before_a_byte_of_it_is_kept() {
    let mut buf = Vec::new();
    let error = read_frame(&mut &[0, 0, 0, 64, 4][..], LIMIT, &mut buf).unwrap_err();
    assert!(matches!(error, FrameError::TooLarge { len: 0x4000_0000, limit: LIMIT }));
    assert_eq!(buf.capacity(), 0);
}

#[test]
fn an_unknown_kind_has_its_own_error() {
    let error = read_frame(&mut &b"GET / HTTP/1.1"[..], LIMIT, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, FrameError::UnknownKind(b'/')));
    assert!(matches!(Kind::try_from(0), Err(FrameError::UnknownKind(0))));
}

#[test]
fn malformed_payloads_are_refused() {
    assert_eq!(Hello::decode(&[1]), None);
    assert_eq!(Hello::decode(&[1, 0, 0xff]), None);
    assert_eq!(Wake::decode(&[0; 39]), None);
    assert_eq!(Wake::decode(&[0; 41]), None);
    assert_eq!(Memory::decode(&[0; 15]), None);
    assert_eq!(Memory::decode(&[]), None);
}

#[test]
fn meminfo_is_read_by_its_fields_names() {
    let text = "MemTotal:      1000 kB\nMemFree:        100 kB\nMemAvailable:   250 kB\n";
    assert_eq!(Memory::parse(text), Some(Memory { total: 1_024_000, available: 256_000 }));
    assert_eq!(Memory::parse("MemTotal: 1000 kB\n"), None);
    assert_eq!(Memory::parse("MemTotalFake: 1 kB\nMemAvailable: 1 kB\n"), None);
}
