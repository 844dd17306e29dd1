//! The Web API methods `views.*`: modals, which the page shows.

use serde_json::{Value, json};

use crate::args::Args;
use crate::blocks;
use crate::content;
use crate::error::{Code, Refusal};
use crate::limits;
use crate::state::Slack;

/// Opens a modal on the pages of the person whose action issued the trigger.
pub(crate) fn open(slack: &Slack, args: &Args) -> Result<Value, Refusal> {
    let trigger = args.required("trigger_id")?;
    let view = args.json("view", Code::InvalidArguments)?;
    let mut view = view.ok_or_else(|| Refusal::missing("view"))?;
    check(&view)?;
    let workspace = &mut slack.workspace();
    let user = workspace.use_trigger(trigger)?;
    content::name_blocks(&mut view["blocks"], workspace);
    view["id"] = json!(workspace.id("V"));
    view["hash"] = view["id"].clone();
    view["app_id"] = json!(slack.config.bot.app_id);
    view["state"] = json!({ "values": {} });
    workspace.publish(|| json!({ "type": "view", "user": user, "view": view }));
    Ok(json!({ "view": view }))
}

fn check(view: &Value) -> Result<(), Refusal> {
    if view["type"] != "modal" {
        let problem = "must be modal [json-pointer:/view/type]";
        return Err(Refusal::invalid(problem.into()));
    }
    let title = view["title"]["text"].as_str().map_or(0, blocks::length);
    if !(1..=limits::TITLE).contains(&title) {
        let most = limits::TITLE;
        let problem = format!("must be 1 to {most} characters [json-pointer:/view/title/text]");
        return Err(Refusal::invalid(problem));
    }
    blocks::check_up_to(&view["blocks"], limits::VIEW_BLOCKS)
}
