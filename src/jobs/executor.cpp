#include "saathii/jobs/executor.hpp"

#include <algorithm>
#include <stdexcept>

#include "saathii/base/errors.hpp"
#include "saathii/base/first_line.hpp"
#include "saathii/log/log.hpp"

namespace saathii::jobs {

namespace {

using runner::Result;

const Kind& find_kind(const std::string& name) {
  const auto& all = kinds();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Kind& kind) { return kind.info.name == name; });
  if (found == all.end()) {
    throw std::invalid_argument("there is no job kind '" + name + "'");
  }
  return *found;
}

class Instance {
 public:
  Instance(std::unique_ptr<Job> instance, const config::Job& job, const config::Config& config,
           postgres::Pool& postgres, ServerState& redis_state)
      : name_(job.name),
        settings_(job.settings),
        platform_(config.platform),
        postgres_(postgres),
        redis_(config.redis, redis_state),
        job_(std::move(instance)) {}

  Result run(const runner::Request& request) { return guarded(request, &Job::run); }
  Result help(const runner::Request& request) { return guarded(request, &Job::help); }

 private:
  Result guarded(const runner::Request& request, Report (Job::*what)(const Context&)) {
    const log::Scope scope({{"JOB", name_},
                            {"RUN_ID", request.run_id},
                            {"SCHEDULED_AT", to_iso8601(request.scheduled_at)}});
    const Context context{
        request.at,           settings_,    platform_, postgres_, redis_, request.stop,
        request.scheduled_at, request.term, name_};
    try {
      Report report = (job_.get()->*what)(context);
      return {Result::Status::succeeded, std::move(report.summary), std::move(report.counts)};
    } catch (const Stopped& error) {
      return broken_off(Result::Status::stopped, error.what());
    } catch (const Deposed& error) {
      return broken_off(Result::Status::deposed, error.what());
    } catch (const Unavailable& error) {
      return broken_off(status_unless_stopped(request, Result::Status::unavailable), error.what());
    } catch (const std::exception& error) {
      return broken_off(status_unless_stopped(request, Result::Status::failed), error.what());
    } catch (...) {
      return broken_off(status_unless_stopped(request, Result::Status::failed),
                        "an exception of an unknown type");
    }
  }

  /// A stopped run's sockets are shut down under it, which looks like any fault.
  static Result::Status status_unless_stopped(const runner::Request& request,
                                              Result::Status status) {
    return request.stop.stop_requested() ? Result::Status::stopped : status;
  }

  static Result broken_off(Result::Status status, std::string_view what) {
    return {status, first_line(what), {}};
  }

  const std::string name_;
  const config::Settings settings_;
  const config::Platform platform_;
  postgres::Pool& postgres_;
  redis::Client redis_;
  const std::unique_ptr<Job> job_;
};

}  // namespace

runner::JobSpec make_spec(const config::Job& job, const config::Config& config,
                          postgres::Pool& postgres, ServerState& redis_state) {
  const Kind& kind = find_kind(job.kind);
  auto shared = std::make_shared<Instance>(kind.make(), job, config, postgres, redis_state);
  runner::JobSpec spec{job, [shared](const auto& request) { return shared->run(request); }};
  if (kind.can_be_shared) {
    spec.help = [shared](const auto& request) { return shared->help(request); };
  }
  return spec;
}

runner::Work make_work(const config::Job& job, const config::Config& config,
                       postgres::Pool& postgres, ServerState& redis_state) {
  return make_spec(job, config, postgres, redis_state).work;
}

runner::Work make_work(std::unique_ptr<Job> instance, const config::Job& job,
                       const config::Config& config, postgres::Pool& postgres,
                       ServerState& redis_state) {
  auto shared = std::make_shared<Instance>(std::move(instance), job, config, postgres, redis_state);
  return [shared](const runner::Request& request) { return shared->run(request); };
}

}  // namespace saathii::jobs
