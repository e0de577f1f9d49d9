//! What `hearth clear` asks for.

use hearth_api::operate::{Begun, ClearNeighboursRequest};
use hearth_api::server::{Peer, Refused};
use tracing::{info, warn};

use crate::control::Control;

impl Control {
    /// Has the kernel forget neighbours, and the workers with it: whoever is sent to is looked for
    /// anew. Those that an operator has set for good stay.
    pub(crate) fn clear_neighbours(
        &mut self,
        request: ClearNeighboursRequest,
        peer: &Peer,
    ) -> Result<Begun, Refused> {
        let fault = |error: std::io::Error| {
            warn!(%error, "the kernel does not forget neighbours");
            Refused::Fault(format!("the kernel does not forget neighbours: {error}"))
        };
        let kernel = &mut self.parts.kernel;
        let mut cleared = 0_u64;
        let mut permanent = false;
        for neighbour in kernel.neighbours().map_err(fault)? {
            if request.address.is_some_and(|address| address != neighbour.address) {
                continue;
            }
            if neighbour.state == "permanent" {
                permanent = true;
            } else if kernel.forget_neighbour(neighbour.port, neighbour.address).map_err(fault)? {
                cleared += 1;
            }
        }
        let address = request.address.map(tracing::field::display);
        let (uid, pid, certificate) = (peer.uid, peer.pid, peer.certificate());
        info!(uid, pid, certificate, address, cleared, "an operator cleared neighbours");
        match request.address {
            Some(address) if cleared == 0 && permanent => {
                let text = "is permanent: ip neighbour del takes it away";
                Err(Refused::Busy(format!("neighbour {address} {text}")))
            }
            Some(address) if cleared == 0 => {
                Err(Refused::Unknown(format!("no neighbour {address} on the link of a port")))
            }
            _ => Ok(Begun { concerned: Some(cleared) }),
        }
    }
}
