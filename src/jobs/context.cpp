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

postgres::Pool::Lease Context::session() const {
  return postgres.lease(stop, postgres::Pool::Schema::known, term);
}

std::optional<postgres::Pool::Lease> Context::another_session() const {
  try {
    return postgres.try_lease(stop, term);
  } catch (const Unavailable&) {
    return std::nullopt;
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

Instant moment_of_tick(const Context& context, postgres::Session& session) {
  const Instant moment = moment_of_run(context, session);
  return context.at ? moment : not_before_tick(moment, context.scheduled_at);
}

Instant not_before_tick(Instant now, Instant tick) {
  constexpr Duration most = std::chrono::hours{1};
  return now < tick && tick - now <= most ? tick : now;
}

}  // namespace saathii::jobs
