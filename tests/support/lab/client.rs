//! What a client sees: an answer, or one of the ways not to get one.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::io::Errno;

use super::socket::Stream;

/// An echo server's answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// The server that answered: `pod0`, `pod1` and so on.
    pub name: String,
    /// The source address the server saw.
    pub client: IpAddr,
}

/// How a client fared without an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Refused at once: a TCP reset, or ICMP port unreachable.
    Refused,
    /// Another ICMP error, or no route; with the error's text.
    Unreachable(String),
    /// Silence until the timeout: the packet was dropped, or nobody is there.
    TimedOut,
    /// Anything else, a connection broken half way included; with the error's text.
    Broken(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Refused => f.write_str("refused"),
            Refusal::Unreachable(why) => write!(f, "unreachable ({why})"),
            Refusal::TimedOut => f.write_str("no answer"),
            Refusal::Broken(why) => write!(f, "broken ({why})"),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Refusal::Refused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Refusal::Unreachable(error.to_string()),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Refusal::TimedOut,
            // What connect says when its send timeout runs out.
            _ if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => Refusal::TimedOut,
            _ => Refusal::Broken(error.to_string()),
        }
    }
}

/// What a client gets.
pub type Outcome = Result<Answer, Refusal>;

/// A connection that stays open, for flows that must outlive a change of the rules.
pub struct Connection {
    reader: BufReader<TcpStream>,
    answer: Answer,
}

impl Connection {
    /// Connects from the calling thread's namespace and reads the server's first line.
    pub fn open(stream: Stream, to: SocketAddr, timeout: Duration) -> Result<Connection, Refusal> {
        let mut reader = BufReader::new(stream.connect(to, timeout)?);
        let answer = read_answer(&mut reader)?;
        Ok(Connection { reader, answer })
    }

    /// What the server said first.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Asks again over the same connection.
    pub fn ask(&mut self) -> Outcome {
        self.reader.get_mut().write_all(b"?\n")?;
        read_answer(&mut self.reader)
    }
}

/// Sends one datagram from the calling thread's namespace and waits for the answer.
pub fn ask_udp(socket: &UdpSocket, timeout: Duration) -> Outcome {
    socket.set_read_timeout(Some(timeout))?;
    match socket.send(b"?\n") {
        // The node's own packet met a drop or a reject on its way out. Which one, the read below learns.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        sent => drop(sent?),
    }
    let mut heard = [0; 256];
    let length = socket.recv(&mut heard)?;
    parse(&String::from_utf8_lossy(&heard[..length]))
}

/// A UDP socket connected to `to`, in the calling thread's namespace.
pub fn udp_socket(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { [0u8; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    Ok(socket)
}

fn read_answer(reader: &mut impl BufRead) -> Outcome {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    parse(&line)
}

fn parse(line: &str) -> Outcome {
    let garbled = || Refusal::Broken(format!("an answer that is none: {line:?}"));
    let (name, client) =
        line.trim().strip_prefix("name=").and_then(|rest| rest.split_once(" client=")).ok_or_else(garbled)?;
    Ok(Answer { name: name.to_owned(), client: client.parse().map_err(|_| garbled())? })
}
