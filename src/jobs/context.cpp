#include "context.sql.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/jobs/moment.hpp"

namespace saathii::jobs {

void Context::throw_if_stopped() const {
  if (stop.stop_requested()) {
    throw Stopped("stopped between two batches");
  }
}

Instant moment_of_run(const Context& context, postgres::Session& session) {
  if (context.at) {
    return *context.at;
  }
  return session.autocommit([&](auto& each) {
    const auto now = session.exec(each, sql::context::now);
    return Instant{std::chrono::microseconds{now[0][0].template as<std::int64_t>()}};
  });
}

}  // namespace saathii::jobs
