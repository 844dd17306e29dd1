//! Each thing that may not happen is planted in a run that went well, and found.

mod breakers;
mod leftovers;
mod lost;
mod reconnects;
mod recorded_run;
mod run_twice;

use bematic_protocol::time::Timestamp;
use strum::VariantArray as _;

use self::recorded_run::RecordedRun;
use super::ViolationKind;
use bematic_test_agent::AttemptEvent;

fn offer(message: String, sent_at: Timestamp) -> AttemptEvent {
    AttemptEvent::Offered { message, sent_at }
}

#[test]
fn a_run_that_went_well_has_no_violations_and_is_counted() {
    let verdict = RecordedRun::good().verdict();
    assert_eq!(verdict.violations, []);
    assert_eq!((verdict.submitted, verdict.confirmed), (1, 1));
    assert_eq!((verdict.completed, verdict.started), (1, 1));
    assert_eq!((verdict.late, verdict.repeated, verdict.died), (0, 0, 0));
    for kind in ViolationKind::VARIANTS {
        assert_eq!(verdict.count_violations(*kind), 0);
    }
}
