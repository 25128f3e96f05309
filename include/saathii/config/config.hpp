#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "saathii/base/password_file.hpp"
#include "saathii/base/time.hpp"
#include "saathii/base/time_zone.hpp"
#include "saathii/config/settings.hpp"
#include "saathii/schedule/planner.hpp"

// Plain, validated values: what config/saathiid.toml says, with defaults.

namespace saathii::config {

struct Postgres {
  std::string url;                ///< holds a secret
  std::int64_t max_sessions = 8;  ///< at least 1
  Duration connect_timeout = std::chrono::seconds{5};
  Duration statement_timeout = std::chrono::minutes{2};
  Duration lock_timeout = std::chrono::seconds{5};
  Duration tcp_user_timeout = std::chrono::seconds{15};
  bool migrate_at_start = false;
  PasswordSource password = {};  ///< for a URL without one
  /// A server that takes no writes will do: for who only reads, never configured.
  bool only_reads = false;
};

struct Redis {
  std::string url = "redis://127.0.0.1:6379/0";  ///< holds a secret
  Duration connect_timeout = std::chrono::seconds{1};
  Duration command_timeout = std::chrono::seconds{2};
  PasswordSource password = {};  ///< for a URL without one
  /// What the sentinels themselves ask for, for a URL that does not say it.
  PasswordSource sentinel_password = {.file = {}, .credential = {}, .name = "sentinel_password"};
};

/// Coins for one started minute.
struct Rates {
  std::int64_t audio = 10;
  std::int64_t video = 60;
  /// What is called a minute of a call wherever it is charged or earned.
  Duration increment = std::chrono::minutes{1};
};

/// One badge: from how much talk time of the day before, and what it earns.
struct Badge {
  std::string name;
  Duration from{0};
  std::int64_t audio_paise = 0;  ///< per minute
  std::int64_t video_paise = 0;  ///< per minute
};

struct Badges {
  /// Ascending: basic, bronze, silver, gold; basic begins at zero.
  std::array<Badge, 4> tiers = {{{"basic", std::chrono::hours{0}, 100, 600},
                                 {"bronze", std::chrono::hours{3}, 125, 700},
                                 {"silver", std::chrono::hours{6}, 150, 850},
                                 {"gold", std::chrono::hours{9}, 180, 1000}}};
  /// The calls that count towards talk time, by status.
  std::vector<std::string> count_status = {"completed", "dropped"};
};

/// How a listener's earnings are credited.
enum class EarningsIn { rupees, coins };

/// What the platform's jobs share.
struct Platform {
  std::string timezone = "Asia/Kolkata";  ///< of the business day
  Rates rates;
  Badges badges;
  EarningsIn earnings_in = EarningsIn::rupees;
};

/// How one tick is run.
struct RunPolicy {
  Duration timeout = std::chrono::minutes{5};
  std::int64_t retries = 3;  ///< after the first try; waiting for a lost server does not count
  Duration retry_backoff = std::chrono::seconds{1};
  Duration retry_backoff_cap = std::chrono::seconds{30};
  bool run_at_start = false;
  /// A run that takes longer is told of as long-running; 0: the part of the
  /// timeout that Alerts::long_running_percent says.
  Duration long_running_after{0};
  /// A job that has had no success for so long is failing; 0: what its trigger
  /// and timeout make of it.
  Duration success_deadline{0};
};

/// Where a tick runs if several instances of saathiid serve one database.
enum class Scope {
  leader,  ///< by the one that leads
  host     ///< by each: its work is on the host
};

/// One instance of a job kind: a [jobs.NAME] table.
struct Job {
  std::string name;
  std::string kind;
  Scope scope = Scope::leader;
  bool enabled = true;
  schedule::Trigger trigger;
  schedule::Policy policy;
  RunPolicy run;
  Settings settings;
};

struct Logging {
  std::string level = "info";  ///< trace, debug, info, warning, error
  std::string files;           ///< the folder of a log file per job; empty: none
};

struct Service {
  std::string instance;                       ///< the name of this instance; empty: the host's
  Duration lease = std::chrono::seconds{10};  ///< a leader silent for so long is succeeded
  Duration drain_timeout = std::chrono::seconds{20};     ///< grace for running jobs at shutdown
  Duration run_retention = std::chrono::hours{24 * 90};  ///< run ledger
  Duration charge_retention =
      std::chrono::hours{24 * 400};  ///< charge ledger; ongoing calls' never
};

/// How the daemon is operated while it runs.
struct Control {
  std::string bus = "system";  ///< "system", "session", "none", or a D-Bus address
};

/// The HTTP face: /health and /metrics.
struct Http {
  std::string listen;  ///< as parse_listen() reads it; empty: off
};

/// When health is no longer "ok".
struct Health {
  Duration postgres_down_after = std::chrono::minutes{1};  ///< then failing, before degraded
  std::int64_t disk_free_degraded = 10;  ///< percent of a log folder's file system
  std::int64_t disk_free_failing = 3;    ///< percent
};

/// An alert to a program of the operator's.
struct AlertCommand {
  std::vector<std::string> run;  ///< the program's absolute path, and arguments; empty: none
  Duration timeout = std::chrono::seconds{30};

  friend bool operator==(const AlertCommand&, const AlertCommand&) = default;
};

/// An alert as JSON by HTTP.
struct AlertWebhook {
  std::string url;  ///< empty: none; its path may be a secret
  PasswordSource token = {.file = {}, .credential = {}, .name = "token"};  ///< see token_header
  std::string token_header = "Authorization: Bearer {token}";
  Duration timeout = std::chrono::seconds{15};

  friend bool operator==(const AlertWebhook&, const AlertWebhook&) = default;
};

/// An alert by mail.
struct AlertMail {
  enum class StartTls { required, optional, none };
  std::string smtp;  ///< empty: none
  StartTls starttls = StartTls::required;
  std::string from;
  std::vector<std::string> to;
  std::string user;  ///< empty: the server wants none
  PasswordSource password;
  Duration timeout = std::chrono::seconds{30};

  friend bool operator==(const AlertMail&, const AlertMail&) = default;
};

/// Who is told of what goes wrong, and how often.
struct Alerts {
  /// What is told of, by the words of alert::Kind, and "recovered".
  std::vector<std::string> on = {"failed", "missed",    "long_running",
                                 "stuck",  "unhealthy", "recovered"};
  std::vector<std::string> jobs;                   ///< of these jobs; empty: of all
  Duration repeat_after = std::chrono::hours{4};   ///< of an alert that stays open; 0: never
  Duration min_gap = std::chrono::minutes{15};     ///< between two openings of one alert
  std::int64_t max_per_hour = 30;                  ///< of all alerts together
  std::int64_t long_running_percent = 80;          ///< of a job's timeout
  Duration give_up_after = std::chrono::hours{1};  ///< on delivering one
  std::string ca_file;  ///< certificates to trust; empty: those of the system
  AlertCommand command;
  AlertWebhook webhook;
  AlertMail mail;
};

struct Config {
  Platform platform;
  Postgres postgres;
  Redis redis;
  Logging log;
  Service service;
  Control control;
  Http http;
  Health health;
  Alerts alerts;
  std::vector<Job> jobs;  ///< in the order of registration, then of the file
};

}  // namespace saathii::config
