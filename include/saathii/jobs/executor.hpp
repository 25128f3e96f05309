#pragma once

#include <memory>

#include "saathii/base/server_state.hpp"
#include "saathii/config/config.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/postgres/pool.hpp"
#include "saathii/runner/types.hpp"

namespace saathii::jobs {

/// Makes an instance of the job's kind, with a Redis connection of its own, into
/// what the runner calls. The work keeps copies of what it needs of `config`;
/// `postgres` and `redis_state` outlive it. Throws std::invalid_argument for a
/// kind that does not exist.
[[nodiscard]] runner::Work make_work(const config::Job& job, const config::Config& config,
                                     postgres::Pool& postgres, ServerState& redis_state);

/// The job with its work, and with help() where its kind can be shared.
[[nodiscard]] runner::JobSpec make_spec(const config::Job& job, const config::Config& config,
                                        postgres::Pool& postgres, ServerState& redis_state);

/// The same for an instance that is there already.
[[nodiscard]] runner::Work make_work(std::unique_ptr<Job> instance, const config::Job& job,
                                     const config::Config& config, postgres::Pool& postgres,
                                     ServerState& redis_state);

}  // namespace saathii::jobs
