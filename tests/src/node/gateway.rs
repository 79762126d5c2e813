//! What listens on this machine's loopback, opened to pods at the address of their gateway.
//!
//! On a thread of its own: tests share a node, and each has a runtime of its own that ends with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::Mutex;
use std::thread;

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

/// Open as long as it lives.
pub(crate) struct Gateway {
    address: Ipv4Addr,
    ends: Mutex<Vec<oneshot::Sender<()>>>,
}

impl Gateway {
    pub(crate) fn at(address: Ipv4Addr) -> Gateway {
        Gateway { address, ends: Mutex::default() }
    }

    /// From now on `port` of the gateway leads to `target` of this machine's loopback.
    pub(crate) fn open(&self, port: u16, target: u16) -> anyhow::Result<SocketAddr> {
        let address = SocketAddr::from((self.address, port));
        let (end, ended) = oneshot::channel();
        let (bound, is_bound) = std::sync::mpsc::channel();
        let serve = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(bound.send(Err(error.into()))),
            };
            runtime.block_on(async {
                let listener = match listen(address) {
                    Ok(listener) => listener,
                    Err(error) => return drop(bound.send(Err(error))),
                };
                drop(bound.send(Ok(())));
                tokio::select! {
                    () = accept(listener, target) => {}
                    _ = ended => {}
                }
            });
        };
        thread::Builder::new().name("gateway".to_owned()).spawn(serve).context("starting a thread")?;
        is_bound.recv().context("the gateway's thread has ended")?.context("opening a port to pods")?;
        self.ends.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?.push(end);
        Ok(address)
    }
}

/// The address comes with the first pod and goes with the last, and no listener has to wait for that.
fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let on: libc::c_int = 1;
    let socket = TcpSocket::new_v4().context("making a socket")?;
    #[expect(unsafe_code, reason = "std can't ask for an address that is not there yet")]
    // SAFETY: the descriptor is the socket's, and the value an integer that lives until the call is over.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_FREEBIND,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if outcome != 0 {
        return Err(std::io::Error::last_os_error()).context("asking for an address that is not there yet");
    }
    socket.bind(address).with_context(|| format!("binding {address}"))?;
    socket.listen(64).with_context(|| format!("listening on {address}"))
}

async fn accept(listener: TcpListener, target: u16) {
    // A connection that can't be accepted is the pod's to open again.
    loop {
        let Ok((mut inner, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let Ok(mut outer) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
            // Either side may hang up whenever it likes.
            drop(tokio::io::copy_bidirectional(&mut inner, &mut outer).await);
        });
    }
}
