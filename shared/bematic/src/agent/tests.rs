use super::*;

#[test]
fn a_key_is_bm_and_64_hex_digits_and_never_printed() {
    let key = ApiKey::from_random([0xab; 32]);
    assert_eq!(key.expose(), format!("bm_{}", "ab".repeat(32)));
    assert!(!format!("{key:?}").contains("abab"));
    assert!(key.expose().parse::<ApiKey>().is_ok());
    for bad in [
        "",
        "bm_",
        "bm_12",
        &format!("xx_{}", "a".repeat(64)),
        &format!("bm_{}", "G".repeat(64)),
    ] {
        assert!(bad.parse::<ApiKey>().is_err(), "{bad}");
    }
}

#[test]
fn only_the_hash_of_a_key_is_kept() {
    // printf bm_$(printf 00%.0s $(seq 32)) | sha256sum
    let hash = ApiKey::from_random([0; 32]).hash();
    assert_eq!(hash.as_str().len(), 64);
    assert_ne!(hash, ApiKey::from_random([1; 32]).hash());
    assert_eq!(
        hash,
        format!("bm_{}", "0".repeat(64))
            .parse::<ApiKey>()
            .unwrap()
            .hash()
    );
}

#[test]
fn an_agent_takes_work_while_it_is_connected_online_and_has_a_free_slot() {
    let at = Timestamp::from_millis(1);
    let mut agent = Agent::new("a".parse().unwrap(), at);
    assert_eq!(agent.connection_for_dispatch(), None);
    agent.connection = Some(Binding::new("c".parse().unwrap(), at, None));
    assert!(agent.connection_for_dispatch().is_some());
    let doubted_at = Some(Timestamp::from_millis(2));
    let (in_doubt, hears) = (
        Binding {
            doubted_at,
            ..agent.connection.clone().unwrap()
        },
        Binding {
            doubted_at,
            echoed_at: doubted_at,
            ..agent.connection.clone().unwrap()
        },
    );
    agent.connection = Some(in_doubt);
    assert_eq!(agent.connection_for_dispatch(), None);
    agent.connection = Some(hears);
    assert!(agent.connection_for_dispatch().is_some());
    agent.availability = Availability::Draining;
    assert_eq!(agent.connection_for_dispatch(), None);
    agent.availability = Availability::Online;
    agent.held = (0..5).map(|n| n.to_string()).collect();
    assert_eq!(agent.connection_for_dispatch(), None);
}

#[test]
fn a_project_from_before_there_was_a_choice_is_read() {
    let stored = serde_json::json!({
        "channelId": "C1", "projectId": "web", "agentId": "a", "localPath": "/srv/web",
        "model": "default", "maxBudget": 5.0, "botName": "Bematic", "createdAt": 1,
    });
    let project: Project = serde_json::from_value(stored).unwrap();
    assert_eq!(project.route, Route::One("a".parse().unwrap()));
    {
        let several = Project {
            route: "a,b".parse().unwrap(),
            ..project
        };
        let stored: serde_dynamo::Item = serde_dynamo::to_item(&several).unwrap();
        assert_eq!(
            serde_dynamo::from_item::<_, Project>(stored).unwrap(),
            several
        );
    }
}
