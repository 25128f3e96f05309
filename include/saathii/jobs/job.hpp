#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "saathii/base/count_metric.hpp"
#include "saathii/config/config.hpp"
#include "saathii/config/loader.hpp"
#include "saathii/postgres/pool.hpp"
#include "saathii/redis/client.hpp"

// What a job is. A job kind is two files, src/jobs/NAME.cpp and
// src/jobs/NAME.sql, and one line in src/jobs/registry.cpp.

namespace saathii::jobs {

/// What a run did: counts in the job's own order, each name once, and one
/// sentence for people.
struct Report {
  std::vector<std::pair<std::string, std::int64_t>> counts;
  std::string summary;
};

/// What a run may use. Lives as long as the run; worker thread.
struct Context {
  std::optional<Instant> at;  ///< run as if at this moment; else by the database's clock
  const config::Settings& settings;
  const config::Platform& platform;
  postgres::Pool& postgres;
  redis::Client& redis;       ///< this instance's own
  std::stop_token stop;       ///< between batches, look at it: throw_if_stopped()
  Instant scheduled_at = {};  ///< the tick, by the daemon's clock
  std::int64_t term = 0;      ///< of leadership; 0: any

  /// A session whose transactions change something only while the run's term of
  /// leadership lasts. Waits for one; throws as Pool::lease() does.
  [[nodiscard]] postgres::Pool::Lease session() const;
  /// For who has one already, and so must not wait: nothing if there is none, also
  /// where the server is not there.
  [[nodiscard]] std::optional<postgres::Pool::Lease> another_session() const;

  /// Throws Stopped once the run's time limit or shutdown asks for it.
  void throw_if_stopped() const;
};

/// One instance of a kind. run() is ordinary blocking code on a worker thread,
/// never called twice at once; it throws Unavailable, Stopped, or anything
/// derived from std::exception, which ends the run as failed.
class Job {
 public:
  virtual ~Job() = default;
  virtual Report run(const Context& context) = 0;
};

/// A kind: what the configuration checks, how to make an instance, and which of
/// its counts are metrics. (Where it declares none, all of them are, by one name.)
struct Kind {
  config::KindInfo info;
  std::function<std::unique_ptr<Job>()> make;
  std::vector<CountMetric> metrics = {};
};

/// All kinds, in the order in which they are listed everywhere.
[[nodiscard]] const std::vector<Kind>& kinds();

/// The kinds' half that the configuration needs.
[[nodiscard]] std::vector<config::KindInfo> kind_infos();

}  // namespace saathii::jobs
