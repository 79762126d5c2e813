//! A controller per kind: what each is given of the options and of what is watched, and which of them run.

use super::parts::Parts;
use super::records::Records;
use super::{Start, page};
use crate::actions;
use crate::cli::version;
use crate::cluster::Cluster;
use crate::controllers::claim::Claim;
use crate::controllers::events::Events;
use crate::controllers::foreign_server::Lookout;
use crate::controllers::stores::Stores;
use crate::controllers::switches::{Name, Purpose};
use crate::controllers::{
    backup, backup_repository, backup_sync, delete_backup_request, download_request, gc, location, restore,
    schedule, server_status_request,
};
use crate::engine::backup::Defaults;
use crate::engine::pod_volumes::PodVolumes;
use crate::engine::repositories::Repositories;
use crate::metrics::{Exposition, Figures};

/// Starts a controller per kind, once what there is at the start is known.
pub(super) async fn start(start: &Start<'_>, claim: &Claim, lookout: &Lookout, parts: &mut Parts) {
    let Start { client, options, this, health, ref links, ref page, kinds: _ } = *start;
    let namespace = &options.namespace;
    let figures = Figures::default();
    let records = Records::watch(client, namespace, lookout, &figures, parts);
    tokio::select! {
        () = records.filled() => (),
        () = parts.stop_controllers.cancelled() => return,
    }
    if let Some(page) = page {
        page::show(page, &records);
    }
    let Records {
        policy_sets,
        locations,
        backups,
        restores,
        schedules,
        pod_volumes,
        deletion_requests,
        download_requests,
        status_requests,
        repositories,
    } = records;

    health.expose(Exposition {
        figures,
        backups: backups.clone(),
        restores: restores.clone(),
        schedules: schedules.clone(),
        locations: locations.clone(),
        deletion_requests: deletion_requests.clone(),
        policy_sets,
        namespace: namespace.clone(),
        clock: options.clock.clone(),
    });
    let stores = Stores::new(client, namespace);
    let cluster = Cluster::new(client.clone());
    let brakes = backup_sync::Brakes::default();
    let location = location::Controller {
        cluster_name: this.name.clone(),
        claims: match options.purpose {
            Purpose::BackupAndRestore => location::Claims::Made,
            Purpose::RestoreOnly => location::Claims::Read,
        },
        backups: backups.clone(),
        brakes: brakes.clone(),
        locations: locations.clone(),
        stores: stores.clone(),
        clock: options.clock.clone(),
        default_frequency: options.store_validation_frequency,
    };
    let handle = Repositories::new(client.clone(), namespace, options.clock.clone());
    let files = PodVolumes {
        namespace: namespace.clone(),
        repositories: handle.clone(),
        data_path: options.data_path,
        timeout: options.fs_backup_timeout,
        helper_image: options.restore_helper_image.clone(),
    };
    let switches = &options.switches;
    let backup = backup::Controller {
        backups: backups.clone(),
        locations: locations.clone(),
        stores: stores.clone(),
        cluster: cluster.clone(),
        clock: options.clock.clone(),
        claim: claim.clone(),
        cluster_name: this.name.clone(),
        limit: if switches.is_on(Name::Backup) { options.concurrent_backups } else { 0 },
        left_alone: switches.backups_left_alone(),
        on_restart: options.on_restart,
        defaults: Defaults {
            location: options.default_backup_storage_location.clone(),
            ttl: options.default_backup_ttl,
            volumes_to_fs_backup: options.default_volumes_to_fs_backup,
            snapshot_move_data: options.default_snapshot_move_data,
            item_operation_timeout: options.default_item_operation_timeout,
            snapshot_locations: options.default_snapshot_locations.clone(),
            ..Defaults::default()
        },
        global_policies: options.global_volume_policies.clone(),
        options: options.run_options,
        pod_volumes: files.clone(),
    };
    let restore = restore::Controller {
        namespace: namespace.clone(),
        restores: restores.clone(),
        backups: backups.clone(),
        locations: locations.clone(),
        stores: stores.clone(),
        cluster: cluster.clone(),
        clock: options.clock.clone(),
        claim: claim.clone(),
        limit: options.concurrent_restores,
        left_alone: switches.restores_left_alone(),
        on_restart: options.on_restart,
        item_operation_timeout: options.default_item_operation_timeout,
        timeouts: options.restore_timeouts,
        options: options.run_options,
        pod_volumes: files,
    };
    let backup_sync = backup_sync::Controller {
        namespace: namespace.clone(),
        locations: locations.clone(),
        backups: backups.clone(),
        pod_volumes,
        schedules: schedules.clone(),
        stores: stores.clone(),
        clock: options.clock.clone(),
        events: Events::new(client),
        brakes,
        period: options.backup_sync_period,
    };
    let gc = gc::Controller {
        backups: backups.clone(),
        schedules: schedules.clone(),
        locations: locations.clone(),
        restores: restores.clone(),
        requests: deletion_requests.clone(),
        stores: stores.clone(),
        clock: options.clock.clone(),
        events: Events::new(client),
        cluster: this.clone(),
        frequency: options.garbage_collection_frequency,
    };
    let backup_repository = backup_repository::Controller {
        repositories,
        locations: locations.clone(),
        handle: handle.clone(),
        stores: stores.clone(),
        clock: options.clock.clone(),
    };
    let delete_backup_request = delete_backup_request::Controller {
        repositories: handle,
        requests: deletion_requests,
        backups: backups.clone(),
        restores: restores.clone(),
        locations: locations.clone(),
        stores: stores.clone(),
        cluster,
        clock: options.clock.clone(),
        events: Events::new(client),
        limit: options.concurrent_deletions,
        default_location: options.default_backup_storage_location.clone(),
        actions: actions::delete::all(),
    };
    let download_request = download_request::Controller {
        requests: download_requests,
        backups: backups.clone(),
        restores,
        locations: locations.clone(),
        stores: stores.clone(),
        clock: options.clock.clone(),
        links: links.clone(),
    };
    let server_status_request = server_status_request::Controller {
        requests: status_requests,
        clock: options.clock.clone(),
        version: format!("{}+holdfast.{}", version::VELERO, version::TEXT),
    };
    let schedule = schedule::Controller {
        schedules,
        backups,
        locations,
        stores,
        clock: options.clock.clone(),
        default_location: options.default_backup_storage_location.clone(),
        first_run: options.first_run,
    };
    let stop = parts.stop_controllers.clone();
    parts.start_controller(location.run(stop.clone()));
    parts.start_controller(backup.run(stop.clone()));
    parts.start_controller(restore.run(stop.clone()));
    if switches.is_on(Name::Schedule) {
        parts.start_controller(schedule.run(stop.clone()));
    }
    if switches.is_on(Name::BackupSync) {
        parts.start_controller(backup_sync.run(stop.clone()));
    }
    if switches.is_on(Name::BackupDeletion) {
        parts.start_controller(delete_backup_request.run(stop.clone()));
    }
    if switches.is_on(Name::BackupRepo) {
        parts.start_controller(backup_repository.run(stop.clone()));
    }
    if switches.is_on(Name::Gc) {
        parts.start_controller(gc.run(stop.clone()));
    }
    if switches.is_on(Name::DownloadRequest) {
        parts.start_controller(download_request.run(stop.clone()));
    }
    if switches.is_on(Name::ServerStatusRequest) {
        parts.start_controller(server_status_request.run(stop.clone()));
    }
}
