#include <fmt/format.h>

#include <algorithm>

#include "presence_cleanup.sql.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/jobs/moment.hpp"
#include "saathii/jobs/status_events.hpp"
#include "saathii/postgres/array.hpp"

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

std::string interval(Duration length) { return fmt::format("{} microseconds", length.count()); }

/// What one batch did, and whether there may be more behind it.
struct Batch {
  std::vector<int> changed;
  std::optional<int> go_on_after;
};

class PresenceCleanup final : public Job {
 public:
  Report run(const Context& context) override {
    const auto session = context.postgres.lease(context.stop);
    const Pass pass{context, *session, moment_of_run(context, *session),
                    static_cast<std::size_t>(context.settings.integer("batch_size"))};
    std::int64_t unpublished = 0;
    const auto offline = pass.all(&Pass::set_offline, unpublished);
    const auto cleared = pass.all(&Pass::clear_stuck, unpublished);
    const auto online = pass.count_online();
    return {{{"offline", offline},
             {"busy_cleared", cleared},
             {"online", online},
             {"unpublished", unpublished}},
            fmt::format("{} users online, {} gone offline, {} no longer busy", online, offline,
                        cleared)};
  }

 private:
  struct Pass {
    const Context& context;
    postgres::Session& session;
    Instant moment;
    std::size_t batch_size;

    /// Goes over the users in order of their ids, one transaction a batch, and
    /// publishes what was committed. Returns how many were changed.
    std::int64_t all(Batch (Pass::*step)(int) const, std::int64_t& unpublished) const {
      std::int64_t changed = 0;
      for (std::optional<int> after = 0; after;) {
        context.throw_if_stopped();
        const Batch batch = (this->*step)(*after);
        changed += static_cast<std::int64_t>(batch.changed.size());
        unpublished += publish_status(context, session, batch.changed, moment);
        after = batch.go_on_after;
      }
      return changed;
    }

    Batch set_offline(int after) const {
      Batch batch;
      batch.changed = session.transact([&](auto& transaction) {
        return user_ids(
            session.exec(transaction, sql::presence_cleanup::set_offline, to_iso8601(moment),
                         interval(context.settings.duration("inactive_after")), after, batch_size));
      });
      batch.go_on_after = next(batch.changed);
      return batch;
    }

    Batch clear_stuck(int after) const {
      return session.transact([&](auto& transaction) {
        const auto locked = user_ids(
            session.exec(transaction, sql::presence_cleanup::lock_stuck, after, batch_size));
        Batch batch;
        if (!locked.empty()) {
          batch.changed = user_ids(session.exec(
              transaction, sql::presence_cleanup::clear_stuck, to_iso8601(moment),
              interval(context.settings.duration("busy_grace")), postgres::to_array(locked)));
        }
        batch.go_on_after = next(locked);
        return batch;
      });
    }

    /// A batch that was not full has looked at every user behind it.
    std::optional<int> next(const std::vector<int>& seen) const {
      return seen.size() < batch_size ? std::nullopt : std::optional{seen.back()};
    }

    /// Redis down leaves the key for the next run.
    std::int64_t count_online() const {
      const auto online = session.autocommit([&](auto& each) {
        return session.exec(each, sql::presence_cleanup::count_online)[0][0]
            .template as<std::int64_t>();
      });
      try {
        static_cast<void>(context.redis.command({"SET", online_count_key, std::to_string(online)}));
      } catch (const Unavailable&) {
      }
      return online;
    }
  };
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
  return kind;
}

}  // namespace saathii::jobs
