import '../kernel/plain-zod.ts';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { readFileSync } from 'node:fs';
import { FleetError } from '../kernel/errors.ts';
import { addBackupCommand } from './backup-command.ts';
import { adoptEnvironment, requireRoot } from './become-root.ts';
import {
  bundle,
  deploy,
  drill,
  forget,
  join,
  journal,
  leave,
  listDrills,
  logs,
  restart,
  restartFleet,
  restore,
  rollback,
  rollbackFleet,
  showPlan,
  start,
  status,
  stop,
  uninstall,
  upgrade,
  upgradeFleet,
  verify,
} from './commands.ts';
import { SettingsProblems, createContext, loadSettings, whatEnded } from './context.ts';
import type { CliContext, GlobalOptions } from './context.ts';
import type { DeployOptions } from './deploy.ts';
import { addServiceCommands } from './service-commands.ts';
import type { WayOptions } from './make-way.ts';
import type { VersionOptions } from './upgrade.ts';
import type { Reporter } from '../report/reporter.ts';
import { parseCount, sniffLanguage, speak, usageError } from './usage.ts';

adoptEnvironment();
// Whoever listened has gone (`| head`, a terminal): what was begun goes on, or is undone, in silence.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
  });
const language = sniffLanguage(process.argv, process.env);
const isJson = process.argv.includes('--json');
const say = (zh: string, en: string): string => (language === 'zh' ? zh : en);

/** Runs one command with its context; known errors become a hint and their exit code, unknown ones show their stack. */
function action(work: (context: CliContext, ...words: string[]) => Promise<number | void>): (...all: unknown[]) => Promise<void> {
  return async (...all) => {
    const command = all.at(-1) as Command;
    const words = all.slice(0, -2) as string[];
    const context = createContext(command.optsWithGlobals<GlobalOptions>());
    try {
      process.exitCode = (await work(context, ...words)) ?? 0;
    } catch (error) {
      const known = whatEnded(context.signal, error);
      if (known instanceof SettingsProblems) context.reporter.problems(known.problems);
      else if (known instanceof FleetError) context.reporter.error(known.code, known.params);
      else throw error;
      process.exitCode = known.exitCode;
    }
  };
}

function options<T>(command: Command): T {
  return command.optsWithGlobals<T & GlobalOptions>();
}

function examples(...lines: string[]): string {
  if (isJson) return '';
  return `\n${say('示例：', 'Examples:')}\n${lines.map((line) => `  ${line}\n`).join('')}`;
}

const program = new Command('部署.sh');
speak(program, language, { isJson });
program
  .description(say('部署并运行自己的 LiveKit 服务', 'Deploy and run your own LiveKit service'))
  .option('--env <file>', say('配置文件（默认为项目目录的 .env）', 'settings file (default: .env of the project)'))
  .addOption(new Option('--lang <zh|en>', say('输出语言（默认取自 LANG）', 'language of the output (default: from LANG)')).argParser(parseLanguage))
  .option('--json', say('输出 JSON', 'print JSON'))
  .addHelpText('after', examples('./部署.sh deploy', './部署.sh verify', './部署.sh logs livekit -f', 'DOMAIN=meet.example.com ./部署.sh deploy --dry-run'));

const deployCommand: Command = program
  .command('deploy')
  .description(say('在本机启动全部部件（缺什么装什么），再次执行不做改动', 'bring everything up on this machine; a second run changes nothing'))
  .option('--dry-run', say('只显示计划', 'only show the plan'))
  .addHelpText('after', examples('./部署.sh deploy', './部署.sh deploy --dry-run', 'DOMAIN=meet.example.com ./部署.sh deploy'))
  .action(action((context) => deploy(context, { role: 'all', ...deployOptions(deployCommand) })));
withNewFleet(deployCommand);
withWay(deployCommand);
const gatewayCommand: Command = program
  .command('deploy-caddy-service-only')
  .description(say('机器 1：只部署 Caddy 与业务服务', 'machine 1: Caddy and the business service only'))
  .option('--dry-run', say('只显示计划', 'only show the plan'))
  .addHelpText('after', examples('./部署.sh deploy-caddy-service-only', 'DOMAIN=meet.example.com ./部署.sh deploy-caddy-service-only --dry-run'))
  .action(action((context) => deploy(context, { role: 'gateway', ...deployOptions(gatewayCommand) })));
const mediaCommand: Command = program
  .command('deploy-livekit-only')
  .description(say('机器 2 及以后：只部署 LiveKit 与 Redis', 'machines 2 and up: LiveKit and Redis only'))
  .option('--dry-run', say('只显示计划', 'only show the plan'))
  .addHelpText('after', examples('NODES=localhost ./部署.sh deploy-livekit-only', 'NODES=192.168.1.2,192.168.1.3,192.168.1.4 ./部署.sh deploy-livekit-only'))
  .action(action((context) => deploy(context, { role: 'media', ...deployOptions(mediaCommand) })));
withNewFleet(mediaCommand);
withWay(mediaCommand);
const joinCommand: Command = program
  .command('join [line]')
  .description(say('机器 1：写入媒体机输出的 join 行', 'machine 1: take the join line that a media machine printed'))
  .option('--force', say('即使本机属于另一个集群', 'even where this machine belongs to another fleet'))
  .addHelpText('after', examples('./部署.sh join lkf1.…', './部署.sh join - < line.txt'))
  .action(action((context, line) => join(context, line, { isForced: options<{ force?: boolean }>(joinCommand).force === true })));
program
  .command('plan')
  .description(say('显示 deploy 会做什么', 'show what deploy would do'))
  .addHelpText('after', examples('./部署.sh plan', 'LOG_LEVEL=debug ./部署.sh plan --json'))
  .action(
    action(async (context) => {
      requireRoot('plan');
      await showPlan(context, loadSettings(context), { isNewFleet: false });
    }),
  );
program
  .command('start [part]')
  .description(say('启动一个或全部部件', 'start one part or all'))
  .addHelpText('after', examples('./部署.sh start', './部署.sh start livekit'))
  .action(action(start));
const stopCommand: Command = program
  .command('stop [part]')
  .description(say('停止一个或全部部件', 'stop one part or all'))
  .addHelpText('after', examples('./部署.sh stop', './部署.sh stop livekit'))
  .action(action((context, part) => stop(context, part, wayOptions(stopCommand))));
withWay(stopCommand);
const restartCommand: Command = program
  .command('restart [part]')
  .description(say('重启一个或全部部件', 'restart one part or all'))
  .option('--fleet', say('依次重启所有媒体机上的 LiveKit', 'LiveKit on all media machines, one after the other'))
  .addHelpText('after', examples('./部署.sh restart', './部署.sh restart livekit', './部署.sh restart --fleet'))
  .action(
    action((context, part) => {
      const way = wayOptions(restartCommand);
      return options<{ fleet?: boolean }>(restartCommand).fleet === true ? restartFleet(context, part, way) : restart(context, part, way);
    }),
  );
withWay(restartCommand);
const upgradeCommand: Command = program
  .command('upgrade')
  .description(say('把本机的 LiveKit 换成另一版本；未能健康则恢复原版本', 'another version of LiveKit on this machine; the former one again unless it is well'))
  .option('--to <version>', say('版本（默认为能取得的最新版本）', 'version (default: the newest that can be had)'))
  .option('--fleet', say('依次更换所有媒体机', 'all media machines, one after the other'))
  .option('--fetch', say('只取得版本，不更换', 'only bring the version'))
  .option('--dry-run', say('只显示计划', 'only show the plan'))
  .addHelpText('after', examples('./部署.sh upgrade', './部署.sh upgrade --to 1.13.5', './部署.sh upgrade --fleet --to 1.13.5', './部署.sh upgrade --dry-run'))
  .action(
    action((context) => {
      const { to, fleet } = options<{ to?: string; fleet?: boolean }>(upgradeCommand);
      return fleet === true ? upgradeFleet(context, to, versionOptions(upgradeCommand)) : upgrade(context, to, versionOptions(upgradeCommand));
    }),
  );
withWay(upgradeCommand);
const rollbackCommand: Command = program
  .command('rollback')
  .description(say('回到升级前的 LiveKit 版本', 'back to the version of LiveKit that ran before the upgrade'))
  .option('--fleet', say('依次换回所有媒体机', 'all media machines, one after the other'))
  .option('--fetch', say('只取得版本，不更换', 'only bring the version'))
  .option('--dry-run', say('只显示计划', 'only show the plan'))
  .addHelpText('after', examples('./部署.sh rollback', './部署.sh rollback --now', './部署.sh rollback --fleet', './部署.sh rollback --dry-run'))
  .action(
    action((context) => {
      const given = versionOptions(rollbackCommand);
      return options<{ fleet?: boolean }>(rollbackCommand).fleet === true ? rollbackFleet(context, given) : rollback(context, given);
    }),
  );
withWay(rollbackCommand);
const leaveCommand: Command = program
  .command('leave')
  .description(say('本媒体机退出集群（先等参会者离开）', 'take this media machine out of the fleet, its participants first'))
  .addHelpText('after', examples('./部署.sh leave', './部署.sh leave --now'))
  .action(action((context) => leave(context, wayOptions(leaveCommand))));
withWay(leaveCommand);
const forgetCommand: Command = program
  .command('forget <machine>')
  .description(say('把一台永久失去的媒体机从集群中除名', 'strike a media machine off the fleet that is lost for good'))
  .option('-y, --yes', say('不询问', 'do not ask'))
  .addHelpText('after', examples('./部署.sh forget 192.168.1.4', './部署.sh forget m192-168-1-4 --yes'))
  .action(action((context, machine = '') => forget(context, machine, { isSure: wayOptions(forgetCommand).isSure })));
const uninstallCommand: Command = program
  .command('uninstall')
  .description(say('从本机卸载，保留数据', 'remove livekit-fleet from this machine, keeping its data'))
  .option(
    '--purge',
    say('同时删除数据、日志、组件与系统用户；备份与 .env 保留', 'also remove data, logs, components and the system user; backups and .env stay'),
  )
  .addHelpText('after', examples('./部署.sh uninstall', './部署.sh uninstall --purge --yes'))
  .action(action((context) => uninstall(context, { ...wayOptions(uninstallCommand), isPurge: options<{ purge?: boolean }>(uninstallCommand).purge === true })));
withWay(uninstallCommand);
const verifyCommand: Command = program
  .command('verify')
  .description(say('经由 Caddy 开一次真实会议', 'hold a real meeting through Caddy'))
  .option('--timeout <seconds>', say('每一步的最长秒数（默认 15）', 'longest time for one step in seconds (default: 15)'), parseCount)
  .addHelpText('after', examples('./部署.sh verify', './部署.sh verify --json', './部署.sh verify --timeout 60'))
  .action(action((context) => verify(context, { timeoutSeconds: options<{ timeout?: number }>(verifyCommand).timeout ?? 15 })));
const drillCommand: Command = program
  .command('drill [fault]')
  .description(say('演练故障：故意制造一种（或全部）故障，量出参会者的损失', 'hold a fault, or all of them, on purpose, and measure what participants lose'))
  .option('--list', say('列出可演练的故障及其限度', 'list the faults, and what each may cost'))
  .option(
    '--machine <address>',
    say('由哪台媒体机承受（默认为没有 Redis 主节点的一台）', 'the media machine to be met (default: one without the Redis primary)'),
  )
  .option('--dry-run', say('只显示计划', 'only show the plan'))
  .option('-y, --yes', say('不询问', 'do not ask'))
  .addHelpText(
    'after',
    examples('./部署.sh drill --list', './部署.sh drill livekit', './部署.sh drill cut --machine 192.168.1.4', './部署.sh drill --yes --json'),
  )
  .action(
    action((context, fault) => {
      const given = options<{ list?: boolean; machine?: string; dryRun?: boolean; yes?: boolean }>(drillCommand);
      if (given.list === true) return listDrills(context);
      return drill(context, fault, { machine: given.machine, isSure: given.yes === true, isDryRun: given.dryRun === true });
    }),
  );
addBackupCommand(program, { action, examples, say });
const restoreCommand: Command = program
  .command('restore <archive>')
  .description(
    say('恢复备份；先检查一切，未能健康则回到之前的状态', 'restore a backup: all of it is checked first, and unless all is well what stood before is back'),
  )
  .option('--dry-run', say('只检查备份并显示会做什么', 'only check the archive, and show what would be done'))
  .option('--alone', say('集群其余机器已永久丢失，只剩本机', 'the other machines of the fleet are gone for good, and this one is left'))
  .addHelpText('after', examples('./部署.sh restore /mnt/backups/livekit-fleet-….tar.zst', './部署.sh restore backup.tar.zst --dry-run'))
  .action(
    action((context, archive = '') => {
      const { dryRun, alone } = options<{ dryRun?: boolean; alone?: boolean }>(restoreCommand);
      return restore(context, archive, { ...wayOptions(restoreCommand), isDryRun: dryRun === true, isAlone: alone === true });
    }),
  );
withWay(restoreCommand);
const bundleCommand: Command = program
  .command('bundle [out]')
  .description(say('制作离线包：一个文件，在没有网络的机器上部署', 'make one archive that deploys on machines without network'))
  .option('--force', say('覆盖已有的文件', 'overwrite a file that is there'))
  .option('--dry-run', say('只显示内容与位置', 'only show what would be packed, and where to'))
  .addHelpText('after', examples('./部署.sh bundle', './部署.sh bundle /media/usb/', './部署.sh bundle livekit-fleet.tar.gz --force --json'))
  .action(
    action((context, out) => {
      const given = options<{ force?: boolean; dryRun?: boolean }>(bundleCommand);
      return bundle(context, { out, isForced: given.force === true, isDryRun: given.dryRun === true });
    }),
  );
addMonitor(program, './部署.sh');
addMonitor(program.command('monitor', { hidden: true }), './监控.sh');
const journalCommand: Command = program
  .command('journal')
  .description(say('何时、何人、在哪台机器上做了什么', 'what was done on the fleet: when, where, by whom, with which result'))
  .option('-n, --lines <n>', say('行数（默认 50）', 'number of lines (default: 50)'), parseCount)
  .addHelpText('after', examples('./部署.sh journal', './部署.sh journal -n 200 --json'))
  .action(action((context) => journal(context, { lines: options<{ lines?: number }>(journalCommand).lines ?? 50 })));
addServiceCommands(program, { action, examples, say });
program
  .command('version')
  .description(say('显示版本', 'show the version'))
  .addHelpText('after', examples('./部署.sh version', './部署.sh version --json'))
  .action(
    action(async (context) => {
      const { version } = JSON.parse(readFileSync(`${context.projectRoot}/package.json`, 'utf8')) as { version: string };
      context.reporter.line(version);
      context.reporter.result({ version, node: process.versions.node });
    }),
  );

try {
  // What every program is asked; commander's own would need the number before anybody asks.
  await program.parseAsync(
    ['--version', '-V'].includes(process.argv[2] ?? '') ? [...process.argv.slice(0, 2), 'version', ...process.argv.slice(3)] : process.argv,
  );
} catch (error) {
  const reporter = createContext({ lang: language, json: isJson }).reporter;
  if (error instanceof CommanderError) sayUsage(reporter, error);
  else {
    // Node itself would print a part of the bundled program before the stack.
    reporter.error('UNEXPECTED', { detail: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    process.exitCode = 1;
  }
}

// What is printed is printed, and nothing is under way: what Node does by itself before it ends, such as giving back its heap,
// takes 15 ms.
process.exit();

function sayUsage(reporter: Reporter, error: CommanderError): void {
  const isMonitor = process.argv[2] === 'monitor';
  const all = program.commands.map((command) => command.name()).filter((name) => name !== 'monitor');
  const given = error.code === 'commander.help' && process.argv[2] === 'help' ? process.argv[3] : undefined;
  // Commander shows the whole help for a command that it does not know, and not a word about that.
  const isUnknown = given !== undefined && !given.startsWith('-') && !all.includes(given);
  const known = isUnknown
    ? new FleetError('UNKNOWN_COMMAND', { given, suggestion: all.join(', ') }, { exitCode: 2 })
    : usageError(error, isMonitor ? ['status', 'logs'] : all);
  if (known !== null) reporter.error(known.code, known.params);
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}

function addMonitor(parent: Command, script: string): void {
  parent
    .command('status')
    .description(say('各部件的状态与健康', 'state and health of each part'))
    .addHelpText('after', examples(`${script} status`, `${script} status --json`))
    .action(action(status));
  const command: Command = parent
    .command('logs [part]')
    .description(say('查看日志', 'show logs'))
    .option('-f, --follow', say('持续输出', 'follow'))
    .option('-n, --lines <n>', say('行数（默认 50）', 'number of lines (default: 50)'), parseCount)
    .addHelpText('after', examples(`${script} logs`, `${script} logs livekit -n 200`, `${script} logs agent -f`))
    .action(
      action((context, part) => {
        const given = options<{ follow?: boolean; lines?: number }>(command);
        return logs(context, { part, lines: given.lines ?? 50, isFollowing: given.follow === true, isJson });
      }),
    );
}

function withWay(command: Command): void {
  command.option('--now', say('不等待参会者离开', 'do not wait for participants to leave')).option('-y, --yes', say('不询问', 'do not ask'));
}

function wayOptions(command: Command): WayOptions {
  const { now, yes } = options<{ now?: boolean; yes?: boolean }>(command);
  return { isNow: now === true, isSure: yes === true };
}

function versionOptions(command: Command): VersionOptions {
  const { dryRun, fetch } = options<{ dryRun?: boolean; fetch?: boolean }>(command);
  return { isDryRun: dryRun === true, isFetch: fetch === true, ...wayOptions(command) };
}

function withNewFleet(command: Command): void {
  command.option('--new-fleet', say('本机退出的集群已不复存在，另建一个', 'the fleet that this machine left is gone for good: begin another one'));
}

function deployOptions(command: Command): Omit<DeployOptions, 'role'> {
  const { dryRun, newFleet } = options<{ dryRun?: boolean; newFleet?: boolean }>(command);
  return { isDryRun: dryRun === true, isNewFleet: newFleet === true, ...wayOptions(command) };
}

function parseLanguage(text: string): string {
  if (text !== 'zh' && text !== 'en') throw new InvalidArgumentError(text);
  return text;
}
