#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <unordered_map>

#include "badge_assignment.sql.hpp"
#include "saathii/base/counted.hpp"
#include "saathii/jobs/isolate.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/jobs/moment.hpp"
#include "saathii/log/log.hpp"
#include "saathii/postgres/array.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::jobs {

namespace {

/// Beyond so many it is not these listeners that something is wrong with.
constexpr std::int64_t max_errors = 100;

std::string badges_as_json(const config::Badges& badges) {
  auto list = nlohmann::json::array();
  for (const auto& tier : badges.tiers) {
    list.push_back({{"badge", tier.name},
                    {"from_us", tier.from.count()},
                    {"audio_paise", tier.audio_paise},
                    {"video_paise", tier.video_paise}});
  }
  return list.dump();
}

using Listeners = std::span<const int>;

class Assignment {
 public:
  Assignment(const Context& context, postgres::Session& session)
      : context_(context), session_(session), badges_(badges_as_json(context.platform.badges)) {}

  Report run() {
    find_day();
    sum_talk_time();
    const auto batch_size = context_.settings.integer("batch_size");
    for (int after = 0;;) {
      context_.throw_if_stopped();
      const auto listeners = next_listeners(after, batch_size);
      if (listeners.empty()) {
        break;
      }
      assign_each(listeners);
      after = listeners.back();
    }
    return report();
  }

 private:
  void find_day() {
    const std::string moment = to_iso8601(moment_of_tick(context_, session_));
    session_.autocommit([&](auto& each) {
      const auto days = session_.exec(each, sql::badge_assignment::business_day, moment,
                                      context_.platform.timezone);
      day_ = days[0]["day"].c_str();
      previous_day_ = days[0]["previous"].c_str();
      return 0;
    });
  }

  void sum_talk_time() {
    const std::string statuses = nlohmann::json(context_.platform.badges.count_status).dump();
    session_.autocommit([&](auto& each) {
      for (const auto& row : session_.exec(each, sql::badge_assignment::talk_time, previous_day_,
                                           context_.platform.timezone, statuses)) {
        talk_minutes_[row[0].template as<int>()] = row[1].template as<int>();
      }
      return 0;
    });
  }

  std::vector<int> next_listeners(int after, std::int64_t limit) {
    return session_.autocommit([&](auto& each) {
      std::vector<int> ids;
      for (const auto& row :
           session_.exec(each, sql::badge_assignment::next_listeners, after, limit)) {
        ids.push_back(row[0].template as<int>());
      }
      return ids;
    });
  }

  /// The fault of one listener (a user who was deleted meanwhile, a row that
  /// somebody holds) must not lose the others their badges.
  void assign_each(const std::vector<int>& listeners) {
    isolate(
        context_, Listeners(listeners), halves(), [this](Listeners part) { assign(part); },
        [this](Listeners part, const std::string& reason) { give_up(part.front(), reason); });
  }

  void give_up(int listener, const std::string& reason) {
    log::warning(log::Message::badge_failed, "a listener got no badge",
                 {{"USER_ID", std::to_string(listener)}, {"ERROR", reason}});
    if (++errors_ > max_errors) {
      throw std::runtime_error(
          fmt::format("more than {} listeners got no badge: {}", max_errors, reason));
    }
  }

  void assign(Listeners listeners) {
    std::vector<int> minutes;
    minutes.reserve(listeners.size());
    for (const int listener : listeners) {
      const auto talked = talk_minutes_.find(listener);
      minutes.push_back(talked == talk_minutes_.end() ? 0 : talked->second);
    }
    const auto rows = session_.transact([&](auto& transaction) {
      return session_.exec(transaction, sql::badge_assignment::assign, day_,
                           postgres::to_array(listeners), postgres::to_array(minutes), badges_);
    });
    for (const auto& row : rows) {
      given_[row[0].as<std::string>()] += row[1].as<std::int64_t>();
    }
  }

  Report report() const {
    Report report;
    report.summary = fmt::format("badges of {}:", day_);
    for (const auto& tier : context_.platform.badges.tiers) {
      const auto given = given_.find(tier.name);
      const auto count = given == given_.end() ? 0 : given->second;
      report.counts.emplace_back(tier.name, count);
      report.summary += fmt::format(" {} {},", count, tier.name);
    }
    report.counts.emplace_back("errors", errors_);
    report.summary += " " + counted(errors_, "error");
    return report;
  }

  const Context& context_;
  postgres::Session& session_;
  const std::string badges_;
  std::string day_;
  std::string previous_day_;
  std::unordered_map<int, int> talk_minutes_;
  std::map<std::string, std::int64_t> given_;
  std::int64_t errors_ = 0;
};

class BadgeAssignment final : public Job {
 public:
  Report run(const Context& context) override {
    const auto session = context.session();
    return Assignment(context, *session).run();
  }
};

}  // namespace

Kind badge_assignment() {
  Kind kind;
  kind.info = {.name = "badge_assignment",
               .summary = "Gives each listener the day's badge for the talk time of the day before",
               .default_trigger = "at = \"00:01\"",
               // A day whose run comes hours late still gets its badges; a run that comes
               // after the day's end would be for another day.
               .default_policy = {.misfire_grace = std::chrono::hours{22}},
               .default_run = {.timeout = std::chrono::minutes{30}},
               .settings = {{.name = "batch_size",
                             .default_value = std::int64_t{5000},
                             .help = "Listeners given their badge in one statement.",
                             .min = 1,
                             .max = 100'000}}};
  kind.make = [] { return std::make_unique<BadgeAssignment>(); };
  for (const std::string_view badge : {"basic", "bronze", "silver", "gold"}) {
    kind.metrics.push_back({.count = badge,
                            .name = "saathiid_badge_listeners",
                            .type = CountMetric::Type::gauge,
                            .help = "Listeners by the badge that they were given last",
                            .labels = {{"badge", badge}}});
  }
  kind.metrics.push_back({.count = "errors",
                          .name = "saathiid_badge_errors_total",
                          .help = "Listeners who could not be given their badge"});
  return kind;
}

}  // namespace saathii::jobs
