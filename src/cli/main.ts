import { Command } from 'commander';
import { readFileSync } from 'node:fs';
import { FleetError } from '../kernel/errors.ts';
import { chooseLanguage } from '../kernel/messages/translate.ts';
import { SettingsProblems, createContext, loadSettings } from './context.ts';
import type { CliContext, GlobalOptions } from './context.ts';
import { logs, restart, start, status, stop } from './control.ts';
import { deploy, showPlan } from './deploy.ts';
import { verify } from './verify.ts';

const langAt = process.argv.indexOf('--lang');
const isChinese = chooseLanguage(langAt === -1 ? undefined : process.argv[langAt + 1], process.env) === 'zh';
const say = (zh: string, en: string): string => (isChinese ? zh : en);

/** Runs one command with its context; known errors become a hint and their exit code, unknown ones keep their stack. */
function action(work: (context: CliContext, ...words: string[]) => Promise<number | void>): (...all: unknown[]) => Promise<void> {
  return async (...all) => {
    const command = all.at(-1) as Command;
    const words = all.slice(0, -2) as string[];
    const context = createContext(command.optsWithGlobals<GlobalOptions>());
    try {
      process.exitCode = (await work(context, ...words)) ?? 0;
    } catch (error) {
      const known = context.signal.aborted ? context.signal.reason : error;
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

const program = new Command('部署.sh')
  .description(say('部署并运行自己的 LiveKit 服务', 'Deploy and run your own LiveKit service'))
  .option('--env <file>', say('配置文件（默认为项目目录的 .env）', 'settings file (default: .env of the project)'))
  .option('--lang <zh|en>', say('输出语言', 'language of the output'))
  .option('--json', say('输出 JSON', 'print JSON'))
  .addHelpText(
    'after',
    `\n${say('示例', 'Examples')}:\n  ./部署.sh deploy\n  ./部署.sh verify\n  ./部署.sh logs livekit -f\n  DOMAIN=meet.example.com ./部署.sh deploy --dry-run\n`,
  );

const deployCommand: Command = program
  .command('deploy')
  .description(say('在本机启动全部部件（缺什么装什么），再次执行不做改动', 'bring everything up on this machine; a second run changes nothing'))
  .option('--dry-run', say('只显示计划', 'only show the plan'))
  .action(action((context) => deploy(context, { isDryRun: options<{ dryRun?: boolean }>(deployCommand).dryRun === true })));
program
  .command('plan')
  .description(say('显示 deploy 会做什么', 'show what deploy would do'))
  .action(
    action((context) => {
      const { settings, topology } = loadSettings(context);
      return showPlan(context, settings, topology);
    }),
  );
program.command('start').description(say('启动全部部件', 'start all parts')).action(action(start));
program.command('stop').description(say('停止全部部件', 'stop all parts')).action(action(stop));
program.command('restart [part]').description(say('重启一个或全部部件', 'restart one part or all')).action(action(restart));
program.command('verify').description(say('经由 Caddy 开一次真实会议', 'hold a real meeting through Caddy')).action(action(verify));
addMonitor(program);
addMonitor(program.command('monitor', { hidden: true }));
program
  .command('version')
  .description(say('显示版本', 'show the version'))
  .action(
    action(async (context) => {
      const { version } = JSON.parse(readFileSync(`${context.projectRoot}/package.json`, 'utf8')) as { version: string };
      context.reporter.line(version);
      context.reporter.result({ version, node: process.versions.node });
    }),
  );

await program.parseAsync();

function addMonitor(parent: Command): void {
  parent.command('status').description(say('各部件的状态与健康', 'state and health of each part')).action(action(status));
  const command: Command = parent
    .command('logs [part]')
    .description(say('查看日志', 'show logs'))
    .option('-f, --follow', say('持续输出', 'follow'))
    .option('-n, --lines <n>', say('行数', 'number of lines'), '50')
    .action(
      action((context, part) => {
        const given = options<{ follow?: boolean; lines: string }>(command);
        return logs(context, { part, lines: Number(given.lines) || 50, isFollowing: given.follow === true });
      }),
    );
}
