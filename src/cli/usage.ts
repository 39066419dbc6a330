import { CommanderError, Help, InvalidArgumentError } from 'commander';
import type { Command, Option } from 'commander';
import { FleetError } from '../kernel/errors.ts';
import { chooseLanguage } from '../kernel/messages/translate.ts';
import type { Language } from '../kernel/messages/translate.ts';

const TITLES: Readonly<Record<string, string>> = {
  'Usage:': '用法：',
  'Arguments:': '参数：',
  'Options:': '选项：',
  'Global Options:': '公共选项：',
  'Commands:': '命令：',
};

/** The language of help and usage errors: it is needed before the command line is parsed. */
export function sniffLanguage(argv: readonly string[], environment: Readonly<Record<string, string | undefined>>): Language {
  const at = argv.indexOf('--lang');
  const joined = argv.find((word) => word.startsWith('--lang='))?.slice('--lang='.length);
  return chooseLanguage(at === -1 ? joined : argv[at + 1], environment);
}

/** The word that names the command, or an option that only its help has; null where there is none. */
export function firstWord(words: readonly string[]): string | null {
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    if (word === '--env' || word === '--lang') at++;
    else if (!/^--(env=|lang=|json$)/.test(word)) return word;
  }
  return null;
}

/** Makes help speak the language, or JSON, and usage errors come as exceptions; call it before adding commands, which inherit it. */
export function speak(program: Command, language: Language, { isJson }: { isJson: boolean }): void {
  const isChinese = language === 'zh';
  program
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .configureHelp({
      showGlobalOptions: true,
      styleTitle: (title) => (isChinese ? (TITLES[title] ?? title) : title),
      formatHelp: isJson ? helpAsJson : (command, helper) => Help.prototype.formatHelp.call(helper, command, helper).replace('用法： ', '用法：'),
    })
    .helpOption('-h, --help', isChinese ? '显示帮助' : 'show help')
    .helpCommand('help [command]', isChinese ? '显示命令的帮助' : 'show the help of a command');
}

/** What a command is, takes and has below it. */
interface Described {
  readonly name: string;
  readonly description: string;
  readonly arguments: ReadonlyArray<{ name: string; isRequired: boolean }>;
  readonly options: ReadonlyArray<{ flags: string; description: string }>;
  readonly commands: readonly Described[];
}

function helpAsJson(command: Command, helper: Help): string {
  return `${JSON.stringify({ ...describeCommand(command, helper), globalOptions: describeOptions(helper.visibleGlobalOptions(command)) })}\n`;
}

function describeCommand(command: Command, helper: Help): Described {
  return {
    name: command.name(),
    description: command.description(),
    arguments: command.registeredArguments.map((one) => ({ name: one.name(), isRequired: one.required })),
    options: describeOptions(helper.visibleOptions(command)),
    commands: helper.visibleCommands(command).map((one) => describeCommand(one, helper)),
  };
}

function describeOptions(options: readonly Option[]): Described['options'] {
  return options.map(({ flags, description }) => ({ flags, description }));
}

/**
 * What a parsing error means in our words (exit code 2); null where help was asked for and shown.
 * Commander tells kinds apart by code, and names what was given only inside its message, in quotes.
 */
export function usageError(error: CommanderError, commands: readonly string[]): FleetError | null {
  const [given = '', value = ''] = [...error.message.matchAll(/'([^']*)'/g)].map((match) => match[1] ?? '');
  const near = /\(Did you mean (?:one of )?(.+)\?\)/.exec(error.message)?.[1];
  const usage = { exitCode: 2 };
  switch (error.code) {
    case 'commander.helpDisplayed':
    case 'commander.help':
      return null;
    case 'commander.unknownCommand':
      return new FleetError('UNKNOWN_COMMAND', { given, suggestion: near ?? commands.join(', ') }, usage);
    case 'commander.unknownOption':
      return new FleetError('UNKNOWN_OPTION', { given, suggestion: near ?? '--help' }, usage);
    case 'commander.optionMissingArgument':
      return new FleetError('OPTION_WITHOUT_VALUE', { option: given }, usage);
    case 'commander.missingArgument':
      return new FleetError('MISSING_WORD', { word: given }, usage);
    case 'commander.invalidArgument':
      return new FleetError('BAD_OPTION_VALUE', { option: given, value }, usage);
    case 'commander.excessArguments':
      return new FleetError('TOO_MANY_WORDS', { command: given }, usage);
    default:
      throw error;
  }
}

/** A number from 1 on, of an option. @throws InvalidArgumentError */
export function parseCount(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new InvalidArgumentError(text);
  return Number(text);
}
