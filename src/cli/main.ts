import '../kernel/plain-zod.ts';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { readFileSync } from 'node:fs';
import { FleetError } from '../kernel/errors.ts';
import type { Reporter } from '../report/reporter.ts';
import { archiveCommands } from './archive-commands.ts';
import { adoptEnvironment } from './become-root.ts';
import { checkCommands } from './check-commands.ts';
import type { CommandTools, Commands } from './command-tools.ts';
import { SettingsProblems, createContext, whatEnded } from './context.ts';
import type { CliContext, GlobalOptions } from './context.ts';
import { deployCommands } from './deploy-commands.ts';
import { machineCommands } from './machine-commands.ts';
import { partCommands } from './part-commands.ts';
import { serviceCommands } from './service-commands.ts';
import { firstWord, sniffLanguage, speak, usageError } from './usage.ts';

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

const tools: CommandTools = { action, examples, say };
const commands: Commands = {
  ...deployCommands(tools),
  ...partCommands(tools),
  ...checkCommands(tools),
  ...machineCommands(tools),
  ...archiveCommands(tools),
  ...serviceCommands(tools),
  version(parent) {
    parent
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
  },
};
const asked = firstWord(process.argv.slice(2));
// To add all of them takes 3 ms: they are there for the help that lists them, and for a word that is none of them.
for (const [name, add] of Object.entries(commands)) if (name === asked || asked === null || !Object.hasOwn(commands, asked)) add(program);

try {
  // What every program is asked; commander's own would need the number before anybody asks.
  const isVersion = asked === '--version' || asked === '-V';
  await program.parseAsync(isVersion ? process.argv.map((word) => (word === asked ? 'version' : word)) : process.argv);
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
  const words = process.argv.slice(2);
  const given = error.code === 'commander.help' && asked === 'help' ? words[words.indexOf('help') + 1] : undefined;
  // Commander shows the whole help for a command that it does not know, and not a word about that.
  const isUnknown = given !== undefined && !given.startsWith('-') && given !== 'help' && !Object.hasOwn(commands, given);
  const known = isUnknown
    ? new FleetError('UNKNOWN_COMMAND', { given, suggestion: knownNames().join(', ') }, { exitCode: 2 })
    : usageError(error, knownNames());
  if (known !== null) reporter.error(known.code, known.params);
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}

/** The commands that could have stood where there was none of this name. */
function knownNames(): string[] {
  const below = program.commands.find((one) => one.name() === asked)?.commands ?? [];
  return below.length > 0 ? below.map((one) => one.name()) : Object.keys(commands).filter((name) => name !== 'monitor');
}

function parseLanguage(text: string): string {
  if (text !== 'zh' && text !== 'en') throw new InvalidArgumentError(text);
  return text;
}
