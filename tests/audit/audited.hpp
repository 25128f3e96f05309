#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "jobs/calls_fixture.hpp"
#include "saathii/audit/audit.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::test {

/// A platform with calls, and audits of it.
struct Audited : Calls {
  audit::Options options;
  std::stop_source stop;

  [[nodiscard]] audit::Terms terms() const {
    config::Config config;
    config.platform = platform;
    return audit::terms_of(config);
  }

  /// As if at T + `at_s`; with `from` other than the daemon's role.
  audit::Report audit(int at_s = 0, postgres::Pool* from = nullptr,
                      redis::Client* shown = nullptr) {
    options.as_of = after(at_s);
    options.redis_settles_in = Duration{0};
    const auto lease = (from == nullptr ? *pool : *from).lease({});
    return audit::run(
        *lease, shown, terms(), options, [](auto, double) {}, stop.get_token());
  }

  audit::Plan plan(const audit::Report& report) {
    const auto lease = pool->lease({});
    return audit::plan(*lease, terms(), report);
  }

  /// How many of the repairs were still needed.
  int apply(const std::vector<audit::Repair>& repairs) {
    const auto lease = pool->lease({});
    return static_cast<int>(std::ranges::count_if(repairs, [&](const audit::Repair& repair) {
      return audit::apply(*lease, terms(), repair);
    }));
  }

  audit::Baseline take_baseline() {
    const auto lease = pool->lease({});
    return audit::take_baseline(*lease);
  }

  /// As the platform's API does it.
  void end_by_api(int call_id, int at_s, const std::string& status = "completed", int earned = 1) {
    const std::string id = std::to_string(call_id);
    const std::string end = "'" + to_iso8601(after(at_s)) + "'";
    db.exec("UPDATE user_calls SET status = '" + status + "', end_time = " + end +
            ", listener_money_earned = " + std::to_string(earned) + " WHERE call_id = " + id);
    db.exec("UPDATE user_wallets SET withdrawable_money = withdrawable_money + " +
            std::to_string(earned) + " FROM user_calls c WHERE call_id = " + id +
            " AND user_wallets.user_id = c.listener_id");
    db.exec(
        "INSERT INTO user_transactions (wallet_id, tx_type, money_change) SELECT wallet_id, "
        "'earn', " +
        std::to_string(earned) +
        " FROM user_calls JOIN user_wallets ON user_wallets.user_id = listener_id WHERE call_id "
        "= " +
        id);
    db.exec(
        "UPDATE user_status SET is_busy = false, wait_time = NULL FROM user_calls c WHERE call_id "
        "= " +
        id + " AND user_status.user_id IN (c.user_id, c.listener_id)");
  }

  /// A run of coin_deduction as the run ledger tells of it.
  void record_run(int began_s, int ended_s, int held = 0,
                  const std::string& outcome = "succeeded") {
    const auto moment = [](int s) { return "'" + to_iso8601(after(s)) + "'"; };
    db.exec(
        "INSERT INTO saathii_tasks.job_run (job, scheduled_at, last_scheduled_at, outcome, run_id, "
        "started_at, finished_at, recorded_at, counts) VALUES ('coin_deduction', " +
        moment(began_s) + ", " + moment(began_s) + ", '" + outcome + "', gen_random_uuid(), " +
        moment(began_s) + ", " + moment(ended_s) + ", " + moment(ended_s) +
        ", '{\"held\": " + std::to_string(held) + "}')");
  }

  /// What is wrong, without what was expected: "2 gap call 1 user 2; 3 sum user 2".
  static std::string violations(const audit::Report& report) {
    std::string text;
    for (const auto& finding : report.findings) {
      for (const auto& offender : finding.offenders) {
        text += text.empty() ? "" : "; ";
        text += std::to_string(finding.number) + " " + offender.kind;
        text += offender.call_id ? " call " + std::to_string(*offender.call_id) : "";
        text += offender.user_id ? " user " + std::to_string(*offender.user_id) : "";
      }
    }
    return text;
  }
};

inline std::string words(const std::string& what, int call_id, int user_id) {
  return what + (call_id == 0 ? "" : " call " + std::to_string(call_id)) + " user " +
         std::to_string(user_id);
}

/// A platform with one call, whose ids are known.
struct WithCall : Audited {
  std::string of_call(const std::string& what) const { return words(what, call_id, caller); }
  void write(const std::string& sql) {
    db.exec(sql + " WHERE call_id = " + std::to_string(call_id));
  }

  int caller = 0;
  int listener = 0;
  int call_id = 0;
};

/// One call whose minutes 1 to 3 are paid, ended by the API, and a baseline.
struct OneCall : WithCall {
  OneCall() {
    caller = user(100);
    listener = user(0);
    take_baseline();
    call_id = start(caller, listener, -150);
    deduct(0);
    end_by_api(call_id, 10);
  }
};

inline const audit::Finding& finding(const audit::Report& report, int number) {
  return report.findings.at(static_cast<std::size_t>(number) - 1);
}

}  // namespace saathii::test
