#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

// Every event that an operator acts on, by an id that never changes: the field
// MESSAGE_ID of the journal. `journalctl MESSAGE_ID=...` finds all of a kind,
// and `journalctl -x` tells what one means, from systemd/saathiid.catalog, where
// each has its entry. CONTRIBUTING.md says how to add one.

namespace saathii::log {

/// Beside each: the fields that its catalog entry names, beyond its group's.
enum class Message : std::uint8_t {
  none,  ///< an event without an id

  // The daemon.
  started,
  stopping,
  stopped,
  left_behind,  ///< JOB, RUN_ID, SCHEDULED_AT where a run is
  fault,
  configuration_refused,  ///< FILE
  reloaded,
  reload_refused,  ///< FILE
  restart_needed,
  pauses_unread,   ///< FILE
  health_changed,  ///< CHECK, HEALTH: ok, degraded or failing
  watchdog_unfed,
  notify_unusable,
  bus_away,
  bus_joined,
  http_unavailable,
  alert_sent,    ///< ALERT, CHANNEL, ATTEMPTS; JOB and RUN_ID where one is meant
  alert_failed,  ///< as alert_sent

  // Jobs and their runs: JOB; of a run RUN_ID and SCHEDULED_AT, too.
  run_failed,     ///< ATTEMPTS, DURATION_US
  run_retried,    ///< ATTEMPTS
  run_timed_out,  ///< ATTEMPTS, DURATION_US
  run_interrupted,
  run_stuck,
  run_released,
  run_requested,    ///< BY
  ticks_missed,     ///< TICKS, SCHEDULED_AT, LAST_SCHEDULED_AT; no RUN_ID
  ticks_coalesced,  ///< as ticks_missed
  ticks_skipped,    ///< as ticks_missed
  job_paused,       ///< BY; no RUN_ID
  job_resumed,      ///< BY; no RUN_ID

  // Servers, and what saathiid keeps in the database.
  server_down,      ///< SERVER
  server_up,        ///< SERVER
  password_public,  ///< FILE
  database_unready,
  schema_newer,
  schema_missing,
  schema_older,
  schema_migrated,
  database_full,
  ledger_unwritten,
  outcomes_lost,  ///< JOB, RUN_ID, SCHEDULED_AT where one is meant
  ledger_written,
  leading,      ///< TERM, LEADER
  standing_by,  ///< TERM, LEADER
  election_failed,

  // What runs meet; with the fields of their run.
  call_ended,    ///< CALL_ID, USER_ID
  call_failed,   ///< CALL_ID
  badge_failed,  ///< USER_ID
  publish_refused,
  log_removal_failed,

  // Disks, and the log's own files.
  log_folder_low,      ///< FOLDER, HEALTH
  log_files_failed,    ///< FILE
  log_files_restored,  ///< FILE; the last one: are_in_order() names it
};

struct MessageId {
  Message message;
  std::string_view id;    ///< a UUID of 32 lower-case hexadecimal digits
  std::string_view name;  ///< the enumerator's
};

/// In the order of Message. An id is made by `systemd-id128 new` and never used again.
inline constexpr MessageId message_ids[] = {
    {Message::started, "b52e6f0e7a3d43f79f7aa216f03befcc", "started"},
    {Message::stopping, "8095db762fe547b58a9ac8d3cb8f135f", "stopping"},
    {Message::stopped, "ee0be418d8c74f9bb5a8e46fe390c52e", "stopped"},
    {Message::left_behind, "61efe17547a34227bf974818e8e7c347", "left_behind"},
    {Message::fault, "91da061a568c47609be43726c3acd7ca", "fault"},
    {Message::configuration_refused, "b455cd0f854741bf995c63c959dd108f", "configuration_refused"},
    {Message::reloaded, "470c820b49ba4a2284e1df375ffe093a", "reloaded"},
    {Message::reload_refused, "52cc038cfb1d44238fac9392bc92713a", "reload_refused"},
    {Message::restart_needed, "48effca9b3604d93aac38de0ef7ebd29", "restart_needed"},
    {Message::pauses_unread, "4d8ef663dc1b4c2eba494fde47ebfaff", "pauses_unread"},
    {Message::health_changed, "2a31f2103a364437b4f4a4225364de20", "health_changed"},
    {Message::watchdog_unfed, "de2747b62e1441e094329c98f264eb4a", "watchdog_unfed"},
    {Message::notify_unusable, "17df6b549b334bf99c1365d1c9767928", "notify_unusable"},
    {Message::bus_away, "09204434eb40423892d5600a4790c0e8", "bus_away"},
    {Message::bus_joined, "2c86decf1aaf42bb9c0d42c2c627a37c", "bus_joined"},
    {Message::http_unavailable, "515d068d49c14ba282b1a09b226a0e8a", "http_unavailable"},
    {Message::alert_sent, "5548c7200ca54eb3b5e46559de17f5d0", "alert_sent"},
    {Message::alert_failed, "72bfff6ad8f745818195dcea715b860f", "alert_failed"},
    {Message::run_failed, "f20359a51969427286bc6a11832565eb", "run_failed"},
    {Message::run_retried, "4ed1909c09224c6999a706efb194de37", "run_retried"},
    {Message::run_timed_out, "c6334390611242dd83bcb25e4875af0d", "run_timed_out"},
    {Message::run_interrupted, "af3b633d8f934cf0945c090989cff7b7", "run_interrupted"},
    {Message::run_stuck, "b872c92ccbcf44ebb93bf852a6093233", "run_stuck"},
    {Message::run_released, "c13ae109cb9747f286b69deacd526032", "run_released"},
    {Message::run_requested, "2963f918c69f4360bd2b0fe7022faeac", "run_requested"},
    {Message::ticks_missed, "c51ea9020c3a41fc8fe4915e948c2590", "ticks_missed"},
    {Message::ticks_coalesced, "85758bb9ce004744829fc7be30734b16", "ticks_coalesced"},
    {Message::ticks_skipped, "8774fda9f2f54373849c16c10befc256", "ticks_skipped"},
    {Message::job_paused, "b3471fd1475d40cab160f9a02cb2e172", "job_paused"},
    {Message::job_resumed, "87b232bb3b7549a894088fe7db1bece1", "job_resumed"},
    {Message::server_down, "3ad4fbd07c86431ba2a34dc1f4d9d60a", "server_down"},
    {Message::server_up, "ff149783818842cea560bd81f1278812", "server_up"},
    {Message::password_public, "0c3e207cb84e41748e4a9fdb18e8daff", "password_public"},
    {Message::database_unready, "6430277440624e73b7c9287cc93a210b", "database_unready"},
    {Message::schema_newer, "6d9781dfd8e144b892adc8faa3f9eb7b", "schema_newer"},
    {Message::schema_missing, "e76fbd1132c4423da87f8883f3178a2f", "schema_missing"},
    {Message::schema_older, "0253f76569a6438287dc0bcbebfb129d", "schema_older"},
    {Message::schema_migrated, "cb31f82a5bd04194a0a3789d941f200c", "schema_migrated"},
    {Message::database_full, "d0f53cc9714a4931b97bf5e11c1085dc", "database_full"},
    {Message::ledger_unwritten, "7ca8a8f450a043888506e8e76a2e005c", "ledger_unwritten"},
    {Message::outcomes_lost, "2d7f2f2e3909481488319ad55c588c08", "outcomes_lost"},
    {Message::ledger_written, "5f4d1af6a9f84e64bb6f3082e1a74b68", "ledger_written"},
    {Message::leading, "8ec9cf9f65e5441e971967adea1d8be4", "leading"},
    {Message::standing_by, "704c54b55ba24480bb416d980911e51f", "standing_by"},
    {Message::election_failed, "839f88351d924de5834ae2100f959f65", "election_failed"},
    {Message::call_ended, "8423450c5a8d4de894c672f504a50823", "call_ended"},
    {Message::call_failed, "3a454729d16644c183e6f46d9e10cdf5", "call_failed"},
    {Message::badge_failed, "edf0c27a5f6846c59778fa1d8f453a64", "badge_failed"},
    {Message::publish_refused, "138010435d4549c89d69f2512a2634c2", "publish_refused"},
    {Message::log_removal_failed, "2fd76ad9eac74d79a20ad0657b74f85c", "log_removal_failed"},
    {Message::log_folder_low, "6559d2514d5a49a18f1bd9f6d4dad7eb", "log_folder_low"},
    {Message::log_files_failed, "bdecbdfb68d04df7b2ac80387aa4c4d8", "log_files_failed"},
    {Message::log_files_restored, "5d9758deb53c45e8864c0e2103063479", "log_files_restored"},
};

/// Empty for Message::none.
[[nodiscard]] constexpr std::string_view id_of(Message message) {
  return message == Message::none ? std::string_view{}
                                  : message_ids[static_cast<std::size_t>(message) - 1].id;
}

/// Whether message_ids has every message, each in its place.
[[nodiscard]] constexpr bool are_in_order() {
  std::size_t place = 0;
  for (const MessageId& each : message_ids) {
    if (static_cast<std::size_t>(each.message) != ++place) {
      return false;
    }
  }
  return place == static_cast<std::size_t>(Message::log_files_restored);
}
static_assert(are_in_order(), "a message without an id, or in another's place");

}  // namespace saathii::log
