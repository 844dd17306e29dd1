//! What messages cost, in calls and units: the functions that the stack runs, on the bench's AWS.

use bematic_bench::measure_counts;
use xtask::Workspace;

/// Of the ordinary task with all that it brings about; a change that needs more has to say why.
const INVOCATIONS: usize = 122;
const WRITE_UNITS: f64 = 163.0;
const READ_UNITS: f64 = 50.0;

#[tokio::test]
async fn every_message_costs_as_few_calls_as_it_should() {
    let counts = measure_counts(&Workspace::find().unwrap()).await.unwrap();
    assert!(counts.exceeded.is_empty(), "{:#?}", counts.exceeded);
    assert!(counts.lambda_invocations <= INVOCATIONS, "{counts:#?}");
    assert!(counts.write_units <= WRITE_UNITS, "{counts:#?}");
    assert!(counts.read_units <= READ_UNITS, "{counts:#?}");
}
