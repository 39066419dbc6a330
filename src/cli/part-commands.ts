import type { Command } from 'commander';
import { optionsOf, wayOptions, withWay } from './command-tools.ts';
import type { CommandTools, Commands } from './command-tools.ts';
import { logs, restart, restartFleet, start, status, stop } from './commands.ts';
import { parseCount } from './usage.ts';

/** What starts and ends a machine’s parts, and shows what they do. */
export function partCommands({ action, examples, say }: CommandTools): Commands {
  const addStatus = (parent: Command, script: string): void => {
    parent
      .command('status')
      .description(say('各部件的状态与健康', 'state and health of each part'))
      .addHelpText('after', examples(`${script} status`, `${script} status --json`))
      .action(action(status));
  };
  const addLogs = (parent: Command, script: string): void => {
    const command: Command = parent
      .command('logs [part]')
      .description(say('查看日志', 'show logs'))
      .option('-f, --follow', say('持续输出', 'follow'))
      .option('-n, --lines <n>', say('行数（默认 50）', 'number of lines (default: 50)'), parseCount)
      .addHelpText('after', examples(`${script} logs`, `${script} logs livekit -n 200`, `${script} logs agent -f`))
      .action(
        action((context, part) => {
          const given = optionsOf<{ follow?: boolean; lines?: number }>(command);
          return logs(context, { part, lines: given.lines ?? 50, isFollowing: given.follow === true, isJson: given.json === true });
        }),
      );
  };
  return {
    start(program) {
      program
        .command('start [part]')
        .description(say('启动一个或全部部件', 'start one part or all'))
        .addHelpText('after', examples('./部署.sh start', './部署.sh start livekit'))
        .action(action(start));
    },
    stop(program) {
      const command: Command = program
        .command('stop [part]')
        .description(say('停止一个或全部部件', 'stop one part or all'))
        .addHelpText('after', examples('./部署.sh stop', './部署.sh stop livekit'))
        .action(action((context, part) => stop(context, part, wayOptions(command))));
      withWay(command, say);
    },
    restart(program) {
      const command: Command = program
        .command('restart [part]')
        .description(say('重启一个或全部部件', 'restart one part or all'))
        .option('--fleet', say('依次重启所有媒体机上的 LiveKit', 'LiveKit on all media machines, one after the other'))
        .addHelpText('after', examples('./部署.sh restart', './部署.sh restart livekit', './部署.sh restart --fleet'))
        .action(
          action((context, part) => {
            const way = wayOptions(command);
            return optionsOf<{ fleet?: boolean }>(command).fleet === true ? restartFleet(context, part, way) : restart(context, part, way);
          }),
        );
      withWay(command, say);
    },
    status: (program) => addStatus(program, './部署.sh'),
    logs: (program) => addLogs(program, './部署.sh'),
    /** What `监控.sh` calls. */
    monitor(program) {
      const monitor = program.command('monitor', { hidden: true });
      addStatus(monitor, './监控.sh');
      addLogs(monitor, './监控.sh');
    },
  };
}
