#include <fmt/format.h>

#include <algorithm>

#include "presence_cleanup.sql.hpp"
#include "saathii/base/counted.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/jobs/moment.hpp"
#include "saathii/jobs/status_events.hpp"
#include "saathii/postgres/array.hpp"
#include "saathii/postgres/interval.hpp"

namespace saathii::jobs {

namespace {

constexpr const char* online_count_key = "presence:online_count";

std::vector<int> user_ids(const pqxx::result& rows) {
  std::vector<int> ids;
  ids.reserve(static_cast<std::size_t>(rows.size()));
  for (const auto& row : rows) {
    ids.push_back(row[0].as<int>());
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

/// Found at a time, so that no list grows with the platform.
constexpr std::size_t max_found = 50'000;

class Pass {
 public:
  Pass(const Context& context, postgres::Session& session)
      : context_(context),
        session_(session),
        moment_(moment_of_run(context, session)),
        batch_size_(static_cast<std::size_t>(context.settings.integer("batch_size"))) {}

  Report run() {
    const auto offline = each_batch(&Pass::find_stale, &Pass::set_offline);
    const auto cleared = each_batch(&Pass::find_stuck, &Pass::clear_stuck);
    const auto online = count_online();
    return {{{"offline", offline},
             {"busy_cleared", cleared},
             {"online", online},
             {"unpublished", unpublished_}},
            fmt::format("{} online, {} gone offline, {} no longer busy", counted(online, "user"),
                        offline, cleared)};
  }

 private:
  using Ids = std::vector<int>;

  /// Goes over the users in order of their ids, one transaction a batch, and
  /// publishes what was committed. Returns how many were changed.
  std::int64_t each_batch(Ids (Pass::*find)(int), Ids (Pass::*change)(const Ids&)) {
    std::int64_t changed = 0;
    Ids found;
    int after = 0;
    do {
      found = (this->*find)(after);
      for (std::size_t begin = 0; begin < found.size(); begin += batch_size_) {
        context_.throw_if_stopped();
        const std::size_t end = std::min(begin + batch_size_, found.size());
        const Ids done = (this->*change)(Ids(found.data() + begin, found.data() + end));
        changed += static_cast<std::int64_t>(done.size());
        unpublished_ += publish_status(context_, session_, done, moment_);
      }
      after = found.empty() ? after : found.back();
    } while (found.size() == max_found);
    return changed;
  }

  Ids find_stale(int after) {
    return session_.autocommit([&](auto& each) {
      return user_ids(session_.exec(each, sql::presence_cleanup::find_stale, to_iso8601(moment_),
                                    inactive_after(), after, max_found));
    });
  }

  Ids set_offline(const Ids& users) {
    return session_.transact([&](auto& transaction) {
      return user_ids(session_.exec(transaction, sql::presence_cleanup::set_offline,
                                    to_iso8601(moment_), inactive_after(),
                                    postgres::to_array(users)));
    });
  }

  Ids find_stuck(int after) {
    return session_.autocommit([&](auto& each) {
      return user_ids(session_.exec(each, sql::presence_cleanup::find_stuck, after, max_found));
    });
  }

  Ids clear_stuck(const Ids& users) {
    return session_.transact([&](auto& transaction) {
      const Ids locked = user_ids(
          session_.exec(transaction, sql::presence_cleanup::lock_busy, postgres::to_array(users)));
      return user_ids(session_.exec(transaction, sql::presence_cleanup::clear_stuck,
                                    to_iso8601(moment_),
                                    postgres::interval(context_.settings.duration("busy_grace")),
                                    postgres::to_array(locked)));
    });
  }

  /// Redis down leaves the key for the next run.
  std::int64_t count_online() {
    const auto online = session_.autocommit([&](auto& each) {
      return session_.exec(each, sql::presence_cleanup::count_online)[0][0]
          .template as<std::int64_t>();
    });
    try {
      static_cast<void>(context_.redis.command({"SET", online_count_key, std::to_string(online)}));
    } catch (const Unavailable&) {
    }
    return online;
  }

  std::string inactive_after() const {
    return postgres::interval(context_.settings.duration("inactive_after"));
  }

  const Context& context_;
  postgres::Session& session_;
  const Instant moment_;
  const std::size_t batch_size_;
  std::int64_t unpublished_ = 0;
};

class PresenceCleanup final : public Job {
 public:
  Report run(const Context& context) override {
    const auto session = context.session();
    return Pass(context, *session).run();
  }
};

}  // namespace

Kind presence_cleanup() {
  Kind kind;
  kind.info = {.name = "presence_cleanup",
               .summary =
                   "Sets users offline who are gone, clears busy flags that are stuck, counts "
                   "who is online",
               .default_trigger = "every = \"5m\"",
               .default_policy = {.misfire_grace = std::chrono::minutes{5}},
               .default_run = {.timeout = std::chrono::minutes{2}},
               .settings = {{.name = "inactive_after",
                             .default_value = Duration{std::chrono::minutes{5}},
                             .help = "An online user who was not seen for longer is set offline.",
                             .min = Duration{std::chrono::seconds{1}}.count()},
                            {.name = "busy_grace",
                             .default_value = Duration{std::chrono::minutes{1}},
                             .help = "A busy user without an ongoing call for longer is set free."},
                            {.name = "batch_size",
                             .default_value = std::int64_t{500},
                             .help = "Users changed, and so locked, in one transaction.",
                             .min = 1,
                             .max = 10'000}}};
  kind.make = [] { return std::make_unique<PresenceCleanup>(); };
  kind.metrics = {{.count = "online",
                   .name = "saathiid_users_online",
                   .type = CountMetric::Type::gauge,
                   .help = "Users who are online"},
                  {.count = "offline",
                   .name = "saathiid_users_set_offline_total",
                   .help = "Users set offline, because they were not seen any more"},
                  {.count = "busy_cleared",
                   .name = "saathiid_users_busy_cleared_total",
                   .help = "Users set free who were busy without a call"},
                  {.count = "unpublished",
                   .name = "saathiid_status_updates_unpublished_total",
                   .help = "Status updates that Redis did not take"}};
  return kind;
}

}  // namespace saathii::jobs
