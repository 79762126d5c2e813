//! What only real pods can show: the testbed's node, hooks, and the data of volumes. Where there can be no node, every test is reported as
//! ignored, with the reason in front of its name; with `HOLDFAST_REQUIRE_NODE` that is a failure.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod backup_hooks;
mod csi;
mod docs;
mod forward;
mod home;
mod installed;
mod interrupted;
mod local_volumes;
mod pod_volumes;
mod pods;
mod restore_hooks;
mod testbed;

use std::future::Future;
use std::process::ExitCode;

use holdfast_tests::{Testbed, node};
use libtest_mimic::{Arguments, Trial};

/// The tests of these modules. One that is not listed is dead code, which the compiler reports.
macro_rules! trials {
    ($($module:ident :: $name:ident),* $(,)?) => {
        vec![$((concat!(stringify!($module), "::", stringify!($name)), || on_a_runtime($module::$name())),)*]
    };
}

type Test = (&'static str, fn());

fn main() -> ExitCode {
    if let Ok(ending) = std::env::var(testbed::ENDING) {
        testbed::hold(&ending);
        return ExitCode::SUCCESS;
    }
    let missing = node::missing();
    if let (Some(missing), Some(_)) = (&missing, std::env::var_os(node::REQUIRED)) {
        eprintln!("{} is set, but {missing}", node::REQUIRED);
        return ExitCode::FAILURE;
    }
    let tests: Vec<Test> = trials![
        testbed::a_pod_runs_and_answers_exec,
        testbed::two_nodes_stand_side_by_side_and_leave_nothing,
        testbed::nothing_is_left_of_a_node_whose_process_was_killed,
        testbed::nothing_is_left_of_a_node_whose_process_was_interrupted,
        testbed::nothing_is_left_of_a_node_whose_test_panicked,
        testbed::a_node_that_stays_is_ended_by_down,
        forward::a_port_on_a_pods_own_loopback_answers_through_the_api_server,
        backup_hooks::hooks_run_before_and_after_in_order_and_what_they_write_is_in_the_log,
        backup_hooks::a_failing_hook_makes_the_backup_partially_failed_and_fail_leaves_the_pod_out,
        backup_hooks::a_hook_that_names_a_missing_container_or_a_sidecar_fails,
        backup_hooks::a_hook_that_outlasts_its_timeout_fails_and_the_backup_goes_on,
        backup_hooks::a_pods_annotations_come_before_the_spec,
        backup_hooks::no_hook_runs_in_a_pod_that_has_ended_or_has_no_place_yet,
        backup_hooks::a_backup_that_is_cancelled_in_a_pre_hook_runs_the_post_hooks,
        backup_hooks::backups_that_overlap_wait_only_where_both_have_hooks,
        backup_hooks::hooks_of_annotations_run_in_a_pod_for_one_backup_at_a_time,
        backup_hooks::hooks_before_run_in_all_pods_of_a_block_before_any_of_it_is_stored,
        restore_hooks::init_containers_come_first_and_commands_run_in_order_container_by_container,
        restore_hooks::a_failing_hook_makes_the_restore_partially_failed_and_holds_no_other_pod_up,
        restore_hooks::a_hook_on_a_missing_container_is_an_error_and_no_hang,
        restore_hooks::a_container_that_does_not_come_is_waited_for_as_long_as_the_hook_says,
        restore_hooks::a_hook_waits_until_its_container_is_ready_where_it_says_so,
        restore_hooks::a_restored_pods_annotations_come_before_the_spec,
        restore_hooks::an_init_hook_without_a_command_fails_validation,
        local_volumes::what_a_pod_wrote_to_the_node_is_read_by_a_restored_pod_in_the_same_and_in_another_namespace,
        pod_volumes::what_a_pod_wrote_is_read_by_a_restored_pod_in_the_same_and_in_another_namespace,
        csi::what_a_pod_wrote_is_read_from_a_snapshot_in_the_same_and_in_another_namespace,
        csi::the_driver_passes_the_checks_of_csi,
        installed::the_image_runs_and_has_nothing_else_to_run,
        installed::of_two_pods_the_other_leads_when_one_is_gone,
        installed::the_agents_of_a_chart_move_the_files_of_volumes,
        installed::a_chart_is_installed_backs_up_restores_is_upgraded_in_a_backup_and_uninstalled,
        docs::the_install_guide_works_word_for_word,
        docs::what_is_said_of_git_works_word_for_word,
        docs::the_guide_to_disaster_recovery_brings_a_lost_cluster_back,
        docs::the_guide_from_velero_and_back_loses_no_object_of_cluster_and_bucket,
        interrupted::a_daemon_killed_in_a_backup_hook_takes_the_backup_up_again,
        interrupted::a_daemon_killed_in_a_restore_hook_runs_the_hooks_of_its_pods_again,
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        let trial = Trial::test(name, move || {
            test();
            Ok(())
        });
        match &missing {
            Some(reason) => trial.with_kind(reason.clone()).with_ignored_flag(true),
            None => trial,
        }
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

/// The testbed with a node that the tests of this binary share.
async fn shared() -> &'static Testbed {
    Testbed::shared_with_node().await.unwrap()
}
