//! Each thing that may not happen is planted in a run that went well, and found.

mod breakers;
mod lost;
mod reconnect;
mod rest;
mod scene;
mod twice;

use bematic_protocol::time::Timestamp;
use strum::VariantArray as _;

use self::scene::Scene;
use super::Charge;
use bematic_test_agent::Deed;

fn offer(message: String, sent_at: Timestamp) -> Deed {
    Deed::Offered { message, sent_at }
}

#[test]
fn a_run_that_went_well_has_no_offences_and_is_counted() {
    let verdict = Scene::good().verdict();
    assert_eq!(verdict.offences, []);
    assert_eq!((verdict.submitted, verdict.confirmed), (1, 1));
    assert_eq!((verdict.completed, verdict.started), (1, 1));
    assert_eq!((verdict.late, verdict.repeated, verdict.died), (0, 0, 0));
    for charge in Charge::VARIANTS {
        assert_eq!(verdict.count(*charge), 0);
    }
}
